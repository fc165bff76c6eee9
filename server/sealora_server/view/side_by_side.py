"""What a comparison measured of a run's recipe, site by site: the base model, a site alone, all together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealora_common.config import CONFIGURATION, from_json, read_file
from sealora_common.errors import StorageError, UnreadableError
from sealora_common.show.quantities import count_text
from sealora_server.comparison.arms import ArmKind
from sealora_server.comparison.comparison import ArmFigures, Comparison

COMPARISON: Final = "comparison.json"
_HEADS: Final[dict[ArmKind, str]] = {
    "base": "Base model",
    "alone": "Each site alone, without privacy",
    "federated": "Together, private",
    "no-privacy": "Together, without privacy",
    "pooled": "Records in one place, without privacy",
}
"""Also their order."""


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Cells by row; each row has one for every head. A kind of arm that was not measured has no column."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """A site's name, and what came out on the held-out records of that site."""
    mean: tuple[str, ...]
    """On those of all sites; of sites alone that of the best."""
    seeds: str
    sentence: str | None
    """What follows of it; None where too little was measured."""


def read_comparison(directory: Path, recipe_hash: str) -> Comparison:
    """What `sealora compare --out DIRECTORY` came to.

    Args:
        directory: the comparison's.
        recipe_hash: of the run that it is to stand beside.

    Raises:
        StorageError: there is none, it is damaged, or it is of another recipe.
    """
    path = directory / COMPARISON
    try:
        found = from_json(Comparison, read_file(path, CONFIGURATION.longest), CONFIGURATION)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}: give what `sealora compare RECIPE --out` wrote") from None
    except UnreadableError as error:
        raise StorageError(f"{path}: {error}: compare anew") from None
    if found.recipe_hash != recipe_hash:
        raise StorageError(
            f"{path}: compares the recipe {found.recipe_hash[:12]}, and the run is of {recipe_hash[:12]}: "
            "compare by the run's recipe.yaml"
        )
    return found


def side_by_side(comparison: Comparison) -> SideBySide:
    """The table of a comparison."""
    text = comparison.heldout.text
    kinds = [kind for kind in _HEADS if any(arm.kind == kind for arm in comparison.arms)]
    arms = {kind: [arm for arm in comparison.arms if arm.kind == kind] for kind in kinds}

    def cell(kind: ArmKind, site: str) -> str:
        own = [arm for arm in arms[kind] if kind != "alone" or arm.key == f"alone-{site}"]
        return text(own[0].by_site.get(site) if own else None)

    def mean(kind: ArmKind) -> str:
        known = [arm for arm in arms[kind] if arm.mean is not None]
        return text(_best(known, comparison.heldout.better == "higher").mean if known else None)

    return SideBySide(
        heads=tuple(_HEADS[kind] for kind in kinds),
        rows=tuple((site.name, tuple(cell(kind, site.name) for kind in kinds)) for site in comparison.sites),
        mean=tuple(mean(kind) for kind in kinds),
        seeds=count_text(len(comparison.seeds), "seed"),
        sentence=None if comparison.margin is None else comparison.margin.sentence,
    )


def _best(arms: list[ArmFigures], higher: bool) -> ArmFigures:
    return (max if higher else min)(arms, key=lambda arm: arm.mean or 0.0)
