"""What a run promises, in the words of every model card and dossier. docs/privacy.md says it at length."""

from __future__ import annotations

from typing import Final

from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe

NO_PROMISE: Final = (
    "There is no differential privacy: the mechanism is none, and the epsilon and delta of the recipe were not used. "
    "Nothing bounds what the adapter tells of a single record."
)
"""Of a recipe whose mechanism protects nothing. All else here is of one whose does."""


def promise_text(recipe: Recipe) -> str:
    """To whom, and how much."""
    return (
        f"Unit: one {recipe.data.unit}. Whether it is in a site's data or blank changes the probability of anything "
        "that leaves the site by a factor of at most e to the epsilon, but for a probability of delta."
    )


def neighbours_text(recipe: Recipe) -> str:
    """Between which data sets."""
    return (
        f"Neighbouring data: the number of a site's {recipe.data.unit}s is public and the same; one of them is blank. "
        "For data in which one stands in another's place, the promise is that of two blanks."
    )


def adversary_text(recipe: Recipe) -> str:
    """Against whom, and what it rests on."""
    if mechanism_of(recipe).sums_on_grid:
        return (
            "the server and whoever reads the adapter, and the other sites as far as the honest survivors carry the "
            "noise. It rests on the seal, and on so many survivors of each round adding their noise and not telling it."
        )
    return "everyone, the server, all other sites and whoever reads the adapter. It rests on the site's code."


def limits_of_promise(recipe: Recipe) -> tuple[str, ...]:
    """What it does not cover; empty where nothing is promised."""
    if not mechanism_of(recipe).protects:
        return ()
    person = "A person with k records has the weaker promise of a group: k times epsilon."
    return (
        *((person,) if recipe.data.unit == "record" else ()),
        "The promise is each site's, to its own data: somebody in the data of several sites is promised less.",
        "It counts this run alone. What other runs on the same records spent comes on top.",
        "What many records have in common can be learned, and that is what training is for.",
    )
