"""What follows from the outcomes of all arms: figures with their intervals, the verdict, remarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe
from sealora_common.records.attacks.memorisation import Planting, SecretFound
from sealora_common.records.audits import RocSummary
from sealora_common.show.quantities import count_text, target_text
from sealora_server.comparison.arms import WHAT_IT_IS, Arm
from sealora_server.memorisation.counts import exposure, extractions, share_of
from sealora_server.memorisation.findings import (
    BITES_FROM,
    ArmFindings,
    KindFound,
    LeakStanding,
    MembershipFound,
    Memorisation,
    RepeatsFound,
)
from sealora_server.memorisation.outcome import AttackOutcome
from sealora_server.memorisation.promised import GroupPromise

Separation = Callable[[NDArray[np.float64], NDArray[np.float64]], RocSummary]
"""How well a score tells members from others."""

STRONGER: Final = (
    "For a stronger one take more rounds (rounds=), a larger training.sample_rate, more planted records of each person "
    "(--repeats), or a higher learning rate"
)
_BY: Final = {
    "told": "asking by name",
    "continued": "giving the record's beginning",
    "ranked first": "rank among false values",
    "exposure": "exposure",
    "membership": "membership inference",
}


@dataclass(frozen=True)
class AttackedArm:
    """An arm, and what the attacks found by seed, one or more."""

    arm: Arm
    outcomes: tuple[AttackOutcome, ...]


def memorisation_of(
    recipe: Recipe,
    given: Recipe,
    planting: Planting,
    sites: Sequence[str],
    attacker: str,
    found: Sequence[AttackedArm],
    separation: Separation,
) -> Memorisation:
    """Sums up what was computed.

    Args:
        recipe: that was tested, bound to its base model.
        given: the same as it was given.
        planting: what was planted under the first seed.
        sites: whose records were trained on.
        attacker: which of them attacked.
        found: one for each arm, the recipe's among them.
        separation: of two sorts of scores.
    """
    arms = tuple(_findings(each, recipe, planting, separation) for each in found)
    of_recipe = next(arm for arm in arms if arm.kind == "federated")
    control = next((arm for arm in arms if arm.kind == "no-privacy"), of_recipe)
    promised = mechanism_of(recipe).protects
    first = found[0].outcomes[0].found
    standing = _standing(of_recipe, control)
    return Memorisation(
        recipe=recipe.name,
        recipe_hash=recipe.hash,
        recipe_hash_as_given=given.hash,
        base_model=recipe.model.base,
        mechanism=recipe.privacy.mechanism,
        unit=recipe.data.unit,
        epsilon=recipe.privacy.epsilon if promised else None,
        delta=recipe.privacy.delta if promised else None,
        sites=tuple(sites),
        attacker=attacker,
        secrets=planting.secrets,
        repeats=planting.repeats,
        candidates=planting.candidates,
        wordings=first.wordings,
        seeds=tuple(outcome.seed for outcome in found[0].outcomes),
        rounds=recipe.rounds,
        standing=standing,
        verdict=_verdict(standing, recipe, of_recipe, control),
        traces=of_recipe.traced_by,
        notes=tuple(_notes(recipe, of_recipe, control, arms)),
        arms=arms,
    )


def _findings(each: AttackedArm, recipe: Recipe, planting: Planting, separation: Separation) -> ArmFindings:
    found = [outcome.found for outcome in each.outcomes]
    planted = [secret for one in found for secret in one.planted]
    held_back = [secret for one in found for secret in one.held_back]

    def of_repeats(repeats: int) -> RepeatsFound:
        own = [secret for secret in planted if secret.repeats == repeats]
        promise = GroupPromise.of(recipe, repeats) if each.arm.kind == "federated" else None
        spaces = [secret.space for secret in own]
        return RepeatsFound(
            repeats=repeats,
            drawn=recipe.expected_epochs * repeats if each.arm.parties else 0.0,
            extractions=extractions(own, held_back),
            exposure=exposure(own, held_back, planting.candidates),
            membership=_membership(own, held_back, separation),
            epsilon=None if promise is None else promise.epsilon,
            delta=None if promise is None else promise.delta,
            allowed_told=None if promise is None else promise.allowed_told(spaces, found[0].wordings),
            allowed_true_positives=None if promise is None else promise.allowed_true_positives(),
        )

    return ArmFindings(
        kind=each.arm.kind,
        key=each.arm.key,
        title=each.arm.title,
        what=WHAT_IT_IS[each.arm.kind],
        rounds=tuple(outcome.rounds for outcome in each.outcomes),
        extractions=extractions(planted, held_back),
        exposure=exposure(planted, held_back, planting.candidates),
        membership=_membership(planted, held_back, separation),
        kinds=tuple(
            KindFound(
                kind=kind,
                told=share_of([secret.told for secret in planted if secret.kind == kind]),
                held_back=share_of([secret.told for secret in held_back if secret.kind == kind]),
            )
            for kind in dict.fromkeys(secret.kind for secret in planted)
        ),
        repeats=tuple(of_repeats(repeats) for repeats in sorted({secret.repeats for secret in planted})),
        unasked=found[0].unasked,
        unasked_planted=sum(one.unasked_planted for one in found),
        unasked_held_back=sum(one.unasked_held_back for one in found),
        seconds=median(outcome.seconds for outcome in each.outcomes),
    )


def _membership(
    planted: Sequence[SecretFound], held_back: Sequence[SecretFound], separation: Separation
) -> MembershipFound | None:
    gains = [[secret.gain for secret in sort if secret.gain is not None] for sort in (planted, held_back)]
    if [len(own) for own in gains] != [len(planted), len(held_back)] or min(map(len, gains)) < 2:
        return None
    return MembershipFound.of(separation(*(np.array(own, dtype=np.float64) for own in gains)))


def _standing(of_recipe: ArmFindings, control: ArmFindings) -> LeakStanding:
    if of_recipe.extracted_by:
        return "more extracted"  # whatever the control says
    return "no more extracted" if control.told.more >= BITES_FROM else "too weak"


def _verdict(standing: LeakStanding, recipe: Recipe, of_recipe: ArmFindings, control: ArmFindings) -> str:
    without = _percent(control.told.planted.share)
    if standing == "more extracted":
        by = " and ".join(_BY[name] for name in of_recipe.extracted_by)
        told = (
            f"More planted personal data came out than of data that nobody trained on, by {by}: "
            f"{_percent(of_recipe.told.planted.share)} of it was told to whoever asked."
        )
        if not mechanism_of(recipe).protects:
            return f"{told} The recipe is without privacy: do not hand the adapter out."
        return f"{told} {_once(of_recipe)}"
    if standing == "too weak":
        return (
            f"This test was too weak to say anything: even without privacy {without} of the planted data was told to "
            f"whoever asked, and it counts from {_percent(BITES_FROM)} on. {STRONGER}."
        )
    return (
        "No attack got more planted personal data out than of data that nobody trained on, within the 95 % interval. "
        f"Trained without privacy, the same model told {without} of it to whoever asked.{_traces(recipe, of_recipe)}"
    )


def _traces(recipe: Recipe, of_recipe: ArmFindings) -> str:
    """What planted records leave all the same: a promise bounds what is learnt, and does not make it nothing."""
    if not of_recipe.traced_by:
        return ""
    told = f" Yet planted records can be told from others, by {' and '.join(_BY[by] for by in of_recipe.traced_by)}"
    if not mechanism_of(recipe).protects:
        return f"{told}."
    return f"{told}, which epsilon {target_text(recipe.privacy.epsilon)} does not exclude."


def _once(of_recipe: ArmFindings) -> str:
    """What to say of those planted once where some came out, as epsilon is about one unit."""
    once = next((group for group in of_recipe.repeats if group.repeats == 1), None)
    if once is None:
        return "All of it was planted several times, for which the promise is a weaker one: see the table by repeats."
    if any(each.is_more for each in once.extractions if each.attack != "ranked first"):
        return "That holds of data planted once as well: lower epsilon, and do not hand the adapter out."
    return (
        "Of data planted once alone it is not told apart; copies weaken the promise (see the table by repeats): look "
        "for them in the data (sealora-site data check), or let data.person_field protect persons."
    )


def _notes(recipe: Recipe, of_recipe: ArmFindings, control: ArmFindings, arms: Sequence[ArmFindings]) -> list[str]:
    notes = [
        f"{arm.title} has diverged: a loss is no number, so the attacks on it say nothing; take a lower learning rate."
        for arm in arms
        if arm.membership is None
    ]
    weak = [
        group
        for group in control.repeats
        if next(each for each in group.extractions if each.attack == "told").planted.share < BITES_FROM
    ]
    if weak and len(weak) < len(control.repeats):
        times = ", ".join(str(group.repeats) for group in weak)
        notes.append(
            f"Of data planted {times} times even training without privacy gave less than {_percent(BITES_FROM)} away: "
            "of these by themselves this test says little."
        )
    empty = [group for group in of_recipe.repeats if group.allowed_told is not None and group.allowed_told >= 1]
    if empty:
        times = ", ".join(str(group.repeats) for group in empty)
        notes.append(
            f"epsilon {target_text(recipe.privacy.epsilon)} is for one {recipe.data.unit}. Of somebody with {times} "
            "records it bounds nothing that such a test could see: what was not found there is measured, not promised."
        )
    members = of_recipe.membership
    if members is not None and members.true_positive_rate is None:
        wanted = f"{count_text(members.held_back, 'record')} that nobody trained on"
        notes.append(
            f"With {wanted} no true positive rate at 1 % false positives can be told: take --secrets 100 or --seeds."
        )
    return notes


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
