"""What follows from the outcomes of all arms: figures with their spread, the margin, the share of the way, remarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.records.share_interval import share_interval
from sealora_common.show.quantities import count_text, names_text
from sealora_server.comparison.arms import WHAT_IT_IS, Arm, ArmKind
from sealora_server.comparison.comparison import ArmFigures, ComparedSite, Comparison, Margin, ShareOfWay
from sealora_server.comparison.difference_text import difference_text, reach_text, share_of_way_text
from sealora_server.comparison.outcome import ArmOutcome
from sealora_server.comparison.uncertainty import difference
from sealora_server.simulation.sites import UnsealedSitesLike


@dataclass(frozen=True)
class JudgedArm:
    """An arm, and what came of it.

    Attributes:
        arm: the arm.
        outcomes: by seed; one where a seed makes no difference.
    """

    arm: Arm
    outcomes: tuple[ArmOutcome, ...]

    @property
    def figures(self) -> list[float]:
        """By seed, those that are numbers."""
        return [each.figure for each in self.outcomes if each.figure is not None]

    @property
    def mean(self) -> float | None:
        """Over the seeds; None if it has diverged under any."""
        return _mean([each.figure for each in self.outcomes])


def comparison_of(
    recipe: Recipe, sites: UnsealedSitesLike, seeds: Sequence[int], found: Sequence[JudgedArm]
) -> Comparison:
    """Sums up what was computed.

    Args:
        recipe: that was compared.
        sites: whose records they are.
        seeds: of all arms that take one.
        found: one for each arm that was wanted, in order.
    """
    heldout, by_kind = HeldoutFigure.of(recipe), {each.arm.kind: each for each in found}
    alone = [each for each in found if each.arm.kind == "alone"]
    return Comparison(
        recipe=recipe.name,
        recipe_hash=recipe.hash,
        base_model=recipe.model.base,
        unit=recipe.data.unit,
        mechanism=recipe.privacy.mechanism,
        rounds=recipe.rounds,
        steps_per_round=recipe.training.steps_per_round,
        heldout=heldout,
        sites=tuple(
            ComparedSite(name=name, units=sites.units((name,)), heldout_units=sites.heldout_units(name))
            for name in sites.names
        ),
        seeds=tuple(seeds),
        arms=tuple(_figures(each, recipe, heldout, sites) for each in found),
        # Of some of the sites, the best is not the best site.
        margin=_margin(heldout, by_kind.get("federated"), alone) if len(alone) == len(sites.names) else None,
        share_of_way=_share_of_way(heldout, by_kind),
        notes=tuple(filter(None, (*_notes(recipe, sites, seeds, found), _held_back(heldout, by_kind)))),
    )


def _figures(found: JudgedArm, recipe: Recipe, heldout: HeldoutFigure, sites: UnsealedSitesLike) -> ArmFigures:
    arm, outcomes, mean = found.arm, found.outcomes, found.mean
    by_site = {name: _mean([each.sites[place].figure for each in outcomes]) for place, name in enumerate(sites.names)}
    promised = arm.kind == "federated" and mechanism_of(recipe).protects
    shares = [share for share in by_site.values() if share is not None]
    counts = [sites.heldout_units(name) for name in sites.names]
    return ArmFigures(
        kind=arm.kind,
        key=arm.key,
        title=arm.title,
        what=WHAT_IT_IS[arm.kind],
        sample_rate=arm.rate if arm.parties else None,
        drawn=arm.drawn,
        rounds=tuple(each.rounds for each in outcomes),
        seeds=tuple(each.seed for each in outcomes) if arm.is_seeded else (),
        figures=tuple(each.figure for each in outcomes),
        mean=mean,
        spread=stdev(found.figures) if mean is not None and len(outcomes) > 1 else None,
        interval=None if heldout.is_loss or mean is None else share_interval(shares, counts),
        by_site=by_site,
        epsilon=recipe.privacy.epsilon if promised else None,
        delta=recipe.privacy.delta if promised else None,
        seconds=median(each.seconds for each in outcomes),
    )


def _mean(figures: Sequence[float | None]) -> float | None:
    numbers = [figure for figure in figures if figure is not None]
    return fmean(numbers) if len(numbers) == len(figures) else None


def _margin(heldout: HeldoutFigure, federated: JudgedArm | None, alone: Sequence[JudgedArm]) -> Margin | None:
    sign = 1.0 if heldout.better == "higher" else -1.0
    ranked = [(sign * each.mean, each) for each in alone if each.mean is not None]
    if federated is None or federated.mean is None or not ranked:
        return None
    best = max(ranked, key=lambda pair: pair[0])[1]
    gap = difference(federated.outcomes, best.outcomes)
    told = f"Federated minus the best site alone ({best.arm.title}) is"
    if gap.uncertainty is None:
        sentence = (
            f"{told} {difference_text(heldout, gap.value)}; how sure that is cannot be told from one seed and so few "
            "held-out records."
        )
    elif gap.is_told_apart:
        better = "better" if sign * gap.value > 0 else "worse"
        sentence = f"{told} {reach_text(heldout, gap.uncertainty, gap.value)} (95 %): federating is {better}."
    else:
        sentence = (
            f"{told} {difference_text(heldout, gap.value)}, which is within its uncertainty of "
            f"{reach_text(heldout, gap.uncertainty)} (95 %): the two are not told apart."
        )
    return Margin(
        best_alone=best.arm.key,
        value=gap.value,
        uncertainty=gap.uncertainty,
        is_told_apart=gap.is_told_apart,
        sentence=sentence,
    )


def _share_of_way(heldout: HeldoutFigure, found: Mapping[ArmKind, JudgedArm]) -> ShareOfWay | None:
    base, federated, pooled = (found.get(kind) for kind in ("base", "federated", "pooled"))
    if base is None or federated is None or pooled is None or federated.mean is None or pooled.mean is None:
        return None
    if base.mean is None:
        return None
    if not _is_better(heldout, pooled, base):
        return ShareOfWay(
            share=None,
            spread=None,
            without_privacy=None,
            sentence="Pooled records are no better than the base model beyond the uncertainty, so there is no way of "
            "which the federation could go a share.",
        )
    way, plain = pooled.mean - base.mean, found.get("no-privacy")
    shares = [(figure - base.mean) / way for figure in federated.figures]
    without = (plain.mean - base.mean) / way if plain is not None and plain.mean is not None else None
    return ShareOfWay(
        share=fmean(shares),
        spread=stdev(shares) if len(shares) > 1 else None,
        without_privacy=without,
        sentence=f"Federated goes {share_of_way_text(fmean(shares))} of the way from the base model "
        f"({heldout.text(base.mean)}) to pooled records ({heldout.text(pooled.mean)})"
        + (f"; without privacy it would go {share_of_way_text(without)}." if without is not None else "."),
    )


def _held_back(heldout: HeldoutFigure, found: Mapping[ArmKind, JudgedArm]) -> str | None:
    """What to say where arms that nothing protects do worse than the one that is protected."""
    federated = found.get("federated")
    if federated is None or not mechanism_of(federated.arm.recipe).protects:
        return None
    others = (found.get("no-privacy"), found.get("pooled"))
    worse = [each.arm.title for each in others if each is not None and _is_better(heldout, federated, each)]
    if not worse:
        return None
    return (
        f"Worse than the federation, which is clipped and noised: {' and '.join(worse)}. The recipe's learning rates "
        "are for gradients that are clipped; where nothing clips them, sites alone may be held back, too, and pooled "
        "records are no upper bound."
    )


def _is_better(heldout: HeldoutFigure, one: JudgedArm, other: JudgedArm) -> bool:
    """Whether it is, beyond the uncertainty."""
    if one.mean is None or other.mean is None:
        return False
    gap = difference(one.outcomes, other.outcomes)
    return gap.is_told_apart and (gap.value > 0) == (heldout.better == "higher")


def _notes(recipe: Recipe, sites: UnsealedSitesLike, seeds: Sequence[int], found: Sequence[JudgedArm]) -> list[str]:
    """What a reader should know of these figures beside what they are."""
    notes, federated = list[str](), recipe.expected_epochs * sum(sites.units((name,)) for name in sites.names)
    if len(seeds) == 1:
        notes.append("One seed: how much another would change is in none of these figures; take --seeds 3 or more.")
    for each in found:
        diverged = [str(outcome.seed) for outcome in each.outcomes if outcome.figure is None]
        if diverged:
            notes.append(
                f"{each.arm.title} has diverged (seed {', '.join(diverged)}): its held-out figure is no number; take a "
                "lower learning rate to compare it."
            )
    few = [each.arm for each in found if each.arm.kind == "alone" and each.arm.drawn < 0.999 * federated]
    if few:
        notes.append(
            f"Of {names_text([arm.title for arm in few])} every record is drawn in every step, which is "
            f"{max(arm.drawn for arm in few) / federated:.0%} of what the federation draws, or less."
        )
    if not mechanism_of(recipe).protects:
        notes.append("The recipe is without privacy, so there is no arm that shows what privacy costs.")
    if sites.trained_elsewhere:
        told = count_text(sites.trained_elsewhere, "held-out record")
        notes.append(
            f"{told} can be found among the records that are trained on: figures flatter whoever trains there."
        )
    return notes
