"""What a site keeps of a run in `runs/RUN/` of its directory, RUN the run's id.

recipe.yaml      the recipe that it agreed to; the site's own may be another by the time the adapter comes
adapter/         the adapter that the run ended with, as plain PEFT reads it
conclusion.json  how the run ended, signed by the server: written last, so that it marks the adapter as whole
summary.json, report.html   this site's own report of the run
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from sealora_client.round.run_id import RUN_ID, run_beginning
from sealora_common.adapter import Tensors
from sealora_common.config import SMALL, read_file
from sealora_common.errors import ModelError, PolicyError, ReceiptError, StorageError, UnreadableError
from sealora_common.export.choice import exporter_of
from sealora_common.export.peft_directory import read_held
from sealora_common.receipts.conclusion import Conclusion
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.round.order import shared_digest
from sealora_common.storage.durable import rename_durably, write_atomically

RUNS = "runs"


@dataclass(frozen=True)
class KeptRun:
    """One run in a site's directory.

    Args:
        site: the site's directory.
        run: the run's id, 32 hexadecimal digits.
    """

    site: Path
    run: str

    def __post_init__(self) -> None:
        if not RUN_ID.fullmatch(self.run):
            raise PolicyError("a run's id is 32 hexadecimal digits: it was refused")

    @property
    def directory(self) -> Path:
        """Where it is kept."""
        return self.site / RUNS / self.run

    @property
    def adapter_directory(self) -> Path:
        """Where the adapter lies, as PEFT reads it."""
        return self.directory / "adapter"

    @property
    def recipe_path(self) -> Path:
        """Where the recipe lies that the site agreed to, if it took part."""
        return self.directory / "recipe.yaml"

    def keep_recipe(self, recipe: Recipe) -> None:
        """Keeps the recipe that the site takes part under, once.

        Raises:
            StorageError: it could not be written.
        """
        if not self.recipe_path.exists():
            text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
            write_atomically(self.recipe_path, text.encode())

    @property
    def recipe(self) -> Recipe | None:
        """The recipe; None if the site has taken no part in the run.

        Raises:
            RecipeError: the file is damaged.
        """
        return load_recipe(self.recipe_path) if self.recipe_path.exists() else None

    @property
    def conclusion(self) -> Conclusion | None:
        """How the run ended; None as long as this site has no adapter of it.

        Raises:
            PolicyError: the file is damaged.
        """
        try:
            return Conclusion.parse(read_file(self._conclusion, SMALL.longest))
        except FileNotFoundError:
            return None
        except (OSError, UnreadableError, ReceiptError):
            raise PolicyError(
                f"{self._conclusion}: cannot be read: delete it, and the server sends it again at the next start"
            ) from None

    def keep(self, conclusion: Conclusion, tensors: Tensors, recipe: Recipe) -> None:
        """Keeps the adapter and how the run ended, whole or not at all: at any moment a power cut leaves the one that
        was there, or none, or this one.

        Args:
            conclusion: checked.
            tensors: all of the adapter's, by name.
            recipe: the run's.

        Raises:
            StorageError: it could not be written.
        """
        self.keep_recipe(recipe)
        aside = self.directory / ".adapter.unfinished"
        for stale in (aside, self.adapter_directory):  # there is no conclusion of it
            shutil.rmtree(stale, ignore_errors=True)
        exporter_of(recipe).export(aside, tensors, recipe)
        rename_durably(aside, self.adapter_directory)
        write_atomically(self._conclusion, conclusion.to_bytes())

    def adapter(self) -> Tensors:
        """All tensors of the adapter as a run holds them, once they are known to be those that the run ended with.

        Raises:
            PolicyError: there is none yet.
            ModelError: a file is missing, damaged, or of another adapter.
        """
        conclusion, recipe = self.conclusion, self.recipe
        if conclusion is None or recipe is None:
            raise PolicyError(
                f"{self.directory}: this site has no adapter of the run yet: it comes when the run is over and "
                "`sealora-site run` is connected"
            )
        tensors = read_held(self.adapter_directory, recipe)
        if recipe.hash != conclusion.recipe_hash or shared_digest(tensors, recipe) != conclusion.adapter_digest:
            raise ModelError(
                f"{self.directory}: is not the adapter that the run ended with: delete conclusion.json there, and the "
                "server sends it again at the next start"
            )
        return tensors

    def has(self, conclusion: Conclusion) -> bool:
        """Whether that adapter is here, whole."""
        try:
            kept = self.conclusion
            return kept is not None and kept.says_the_same_as(conclusion) and bool(self.adapter())
        except (PolicyError, ModelError, StorageError):
            return False

    @property
    def _conclusion(self) -> Path:
        return self.directory / "conclusion.json"


def kept_runs(site: Path) -> list[KeptRun]:
    """All runs that a site keeps something of, the one that it joined, or was given the adapter of, last at the end."""
    found = [KeptRun(site, path.name) for path in (site / RUNS).glob("*") if RUN_ID.fullmatch(path.name)]
    return sorted(found, key=_newest)


def _newest(run: KeptRun) -> float:
    return max(_when(run.directory / name) for name in ("recipe.yaml", "conclusion.json"))


def _when(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def find_run(site: Path, named: str | None, *, with_adapter: bool = True) -> KeptRun:
    """The run that a person means.

    Args:
        site: the site's directory.
        named: the beginning of its id, or its recipe's name; None is the newest.
        with_adapter: only among those whose adapter is here.

    Raises:
        PolicyError: there is none, or more than one.
    """
    runs = [run for run in kept_runs(site) if not with_adapter or (run.directory / "conclusion.json").exists()]
    if not runs:
        raise PolicyError(
            f"{site}: no run's adapter is here yet: it comes when a run is over and `sealora-site run` is connected"
            if with_adapter
            else f"{site}: this site has taken part in no run yet"
        )
    if named is None:
        return runs[-1]
    if (run := run_beginning(named, (each.run for each in runs))) is not None:
        return KeptRun(site, run)
    found = [run for run in runs if (recipe := run.recipe) is not None and recipe.name == named]
    if len(found) != 1:
        known = ", ".join(f"{run.run[:12]} ({recipe.name if (recipe := run.recipe) else '?'})" for run in runs[-5:])
        said = "no run here has that id or recipe" if not found else f"{len(found)} runs have that recipe"
        raise PolicyError(f"{named}: {said}; the last ones are {known}")
    return found[0]
