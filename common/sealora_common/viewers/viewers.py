"""Who sees what of a run of a recipe: the one place that says it, for every report and for README's table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe

Place = Literal["site", "network", "server", "adapter"]
"""Where somebody looks from, in the order in which what leaves a site passes them."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who looks at a run, and what they see."""

    place: Place
    name: str
    sees: str
    unseen: str
    """What they cannot see."""


def viewers(recipe: Recipe, *, insecure: bool = False) -> tuple[Viewer, ...]:
    """Who sees what of a deployed run; docs/threat-model.md says which test shows it.

    Args:
        recipe: of the run.
        insecure: noise and masks were seeded for a test, so that whoever knows the seed computes them.
    """
    if insecure:
        nothing = "nothing is certain to be hidden: randomness was seeded for a test"
        return tuple(Viewer(each.place, each.name, each.sees, nothing) for each in viewers(recipe))
    return (
        Viewer(
            "site",
            "a site",
            "its own data, who took part, the global adapter after each round",
            "any other site's delta, figures or record count",
        ),
        Viewer("network", "the network", "message sizes and times", "content, once the connection is TLS"),
        Viewer("server", "the server", _server_sees(recipe), _server_cannot_see(recipe)),
        Viewer("adapter", "a reader of the final adapter", "the adapter", _reader_cannot_tell(recipe)),
    )


def _server_sees(recipe: Recipe) -> str:
    noisy = mechanism_of(recipe).protects
    over = f" within each of {recipe.sealing.groups} groups of sites" if recipe.sealing.groups > 1 else ""
    updates = f"the sum of the deltas{over}, {'with noise on it' if noisy else 'without noise'}"
    figure = "a noisy mean held-out figure" if noisy else "a mean held-out figure without noise"
    return f"who took part, message sizes and times, {updates}, {figure}"


def _server_cannot_see(recipe: Recipe) -> str:
    return (
        "one site's delta, data or exact figures; nor its record count, unless it subtracts sums over different "
        "survivors (see the threat model); it cannot add a site, lower the threshold or open a sum of fewer than "
        f"{recipe.sealing.min_survivors}"
    )


def _reader_cannot_tell(recipe: Recipe) -> str:
    if not mechanism_of(recipe).protects:
        return "nothing is hidden from them: there is no differential privacy"
    promise = f"epsilon {recipe.privacy.epsilon:g} and delta {recipe.privacy.delta:g}"
    return f"whether any one {recipe.data.unit} was trained on, up to {promise} at each site"
