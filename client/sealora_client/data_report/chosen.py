"""Which data and which recipe a command of `sealora-site data` is about, and the records they make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealora_client.data.record import Record
from sealora_client.data.records import read_records
from sealora_client.data.selection import evaluated
from sealora_client.data.source.places import Places
from sealora_client.data.spool import Joined
from sealora_client.site.config import SiteConfig
from sealora_common.errors import DataError, RecipeError
from sealora_common.recipe import Recipe, load_recipe


@dataclass(frozen=True)
class ChosenData:
    """A data file, and the recipe that says how it is read.

    Attributes:
        path: of the data.
        recipe: it is read by.
    """

    path: Path
    recipe: Recipe

    @classmethod
    def at(cls, directory: Path, data: Path | None, recipe: Path | None) -> ChosenData:
        """A site's own data and recipe, or others.

        Args:
            directory: the site's. It need not be one if both others are given.
            data: a data file in place of the one that site.yaml names.
            recipe: a recipe's file in place of recipe.yaml.

        Raises:
            PolicyError: site.yaml cannot be read.
            DataError: it is asked for and not there.
            RecipeError: the recipe is not there, or cannot be read.
        """
        if recipe is None and not (directory / "recipe.yaml").exists():
            raise RecipeError(
                f"{directory / 'recipe.yaml'}: no such file: name a recipe with --recipe, as it says how records are "
                "read, or the site's directory with --directory"
            )
        if data is None and not (directory / "site.yaml").exists():
            raise DataError(
                f"{directory / 'site.yaml'}: no such file: name the data with --data, or the site's directory with "
                "--directory"
            )
        path = directory / SiteConfig.load(directory / "site.yaml").data if data is None else data
        return cls(path, load_recipe(recipe or directory / "recipe.yaml"))

    def read(self) -> ReadData:
        """The records of both parts.

        Raises:
            DataError: the data cannot be used.
        """
        split = read_records(self.path, self.recipe.data)
        chosen = evaluated(split.heldout, self.recipe)
        return ReadData(self.path, split.places, split.train, split.heldout, chosen, split.unread)


@dataclass(frozen=True)
class ReadData:
    """The records of a site's data.

    Attributes:
        path: of the data.
        places: where the records stand, by their lines.
        train: those that are trained on, in the order of the file.
        heldout: those that are held out, in the order of the file.
        evaluated: those of them that are evaluated.
        unread: names of fields that the recipe reads nothing of.
    """

    path: Path
    places: Places
    train: Sequence[Record]
    heldout: Sequence[Record]
    evaluated: Sequence[Record]
    unread: tuple[str, ...] = ()

    @property
    def both(self) -> Sequence[Record]:
        """The training records, then the held-out ones. They may be read anew each time, so that equal ones are told
        apart by their lines."""
        return Joined(self.train, self.heldout)

    def listed(self, lines: Iterable[int]) -> str:
        """Where the records of these lines stand: the first few, and how many more there are."""
        return self.places.listed(lines)
