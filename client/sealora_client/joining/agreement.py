"""What a site agrees to with an invitation, in words; and what differs from what it agreed to before."""

from __future__ import annotations

from collections.abc import Iterator

from sealora_client.joining.fitting_policy import FittingPolicy
from sealora_client.site.policy import SitePolicy
from sealora_common.config import JsonValue
from sealora_common.invitation import Invitation
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe
from sealora_common.recipe.sections.adapter import SECTION_OF_KIND
from sealora_common.show.safe_text import safe_text

_MOST_DIFFERENCES = 12
_LONGEST_VALUE = 60


def agreement_lines(invitation: Invitation, policy: SitePolicy, records: int) -> Iterator[tuple[str, str]]:
    """What a site with this invitation and this policy agrees to: a word, and a sentence, line by line.

    Args:
        invitation: the one that it was sent.
        policy: the site's.
        records: its training records, or persons.
    """
    recipe = invitation.parsed_recipe
    unit = recipe.data.unit
    yield "recipe", f"{recipe.name}, known by its hash {invitation.recipe_hash[:12]} (the whole: `policy explain`)"
    digest = f"with the digest {recipe.model.digest[:12]}" if recipe.model.digest else "of whatever content: no digest"
    yield "base model", f"{recipe.model.base}, {digest}; it is not changed"
    yield "trained", f"an adapter of the kind {recipe.adapter}{_size(recipe)}; objective: {recipe.objective.kind}"
    yield (
        "rounds",
        f"{recipe.rounds}, each of {_counted(recipe.training.steps_per_round, 'step')} on a random "
        f"{recipe.training.sample_rate:.3g} of this site's {records} training {unit}s: {recipe.expected_epochs:.3g} "
        "times through all of them in the whole run",
    )
    yield "budget", _budget(recipe, policy)
    yield (
        "who",
        f"whoever is on the roster that the coordinator {invitation.coordinator_fingerprint} signs, "
        f"{recipe.sites.minimum} sites or more (this site's policy asks for {policy.minimum_sites}); a sum is opened "
        f"of {recipe.sealing.min_survivors} sites or more",
    )
    yield "server", f"{invitation.server}, taken for {_adversary(recipe)}"
    yield "leaves", f"{_what_leaves(recipe)}; besides that this site's name, times, sizes of messages, and its refusals"
    yield "stays", "every record, this site's private keys, its own figures, and what it alone has learned"


def _size(recipe: Recipe) -> str:
    section = recipe.adapter_section
    rank = getattr(section, "rank", None)
    modules = getattr(section, "target_modules", None)
    parts = [] if rank is None else [f"rank {rank}"]
    if modules is not None:
        parts.append(modules if isinstance(modules, str) else ", ".join(modules))
    return f" ({'; '.join(parts)}; section {SECTION_OF_KIND[recipe.adapter]})" if parts else ""


def _budget(recipe: Recipe, policy: SitePolicy) -> str:
    privacy, mechanism = recipe.privacy, mechanism_of(recipe)
    if not mechanism.protects:
        return "none: no differential privacy; the sums, which others see, may tell of single records"
    noise = (
        "this site adds all of the noise itself, so it holds against everybody"
        if mechanism.may_regroup
        else "each site adds a share of the noise, so it holds as long as enough of the others are honest"
    )
    return (
        f"epsilon {privacy.epsilon:g} at delta {privacy.delta:g} for every {recipe.data.unit} over the whole run, of "
        f"{policy.epsilon_limit:g} that this site's policy lets its data spend in all; {privacy.mechanism}: {noise}"
    )


def _adversary(recipe: Recipe) -> str:
    if recipe.sealing.adversary == "malicious":
        return "malicious: it may lie, and sees sums alone"
    return "curious: it sees sums alone as long as it follows the protocol"


def _what_leaves(recipe: Recipe) -> str:
    noised = "noised " if mechanism_of(recipe).protects else ""
    what = "sum of one step's clipped gradients" if mechanism_of(recipe).sums_on_grid else "change of the adapter"
    grouped = f" of one of {recipe.sealing.groups} groups" if recipe.sealing.groups > 1 else ""
    return (
        f"each round one sealed vector (the {noised}{what}, its weight, and a figure of held-out records), which "
        f"nobody reads but in the sum{grouped}"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def exceeded_lines(fitting: FittingPolicy, recipe: Recipe) -> Iterator[str]:
    """One sentence for each line of a careful policy that the recipe exceeds."""
    for verdict in fitting.exceeded:
        yield f"{recipe.name} exceeds a careful policy: {verdict}: --accept {verdict.field} if this site agrees to it"


def differences(agreed: Recipe, asked: Recipe) -> list[str]:
    """Where two recipes differ in what is agreed on, field by field: `privacy.epsilon 4.0 -> 8.0`."""
    before, after = (dict(_leaves("", recipe.model_dump(mode="json"))) for recipe in (agreed, asked))
    found = [
        f"{name} {_shown(before.get(name))} -> {_shown(after.get(name))}"
        for name in sorted(before | after)
        if before.get(name) != after.get(name) and not name.startswith("sites.simulated")
    ]
    more = len(found) - _MOST_DIFFERENCES
    return found if more <= 0 else [*found[:_MOST_DIFFERENCES], f"and {more} more"]


def _leaves(path: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}" if path else name, inner)
    else:
        yield path, value


def _shown(value: JsonValue) -> str:
    return safe_text(str(value), _LONGEST_VALUE)
