"""What came of one arm under one seed, and the files that keep it, so that it is computed once.

LOCAL: the figures are exact. They are for whoever holds the records of all sites, and are no release.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Generic, TypeVar

from sealora_common import __version__
from sealora_common.canonical import canonical_json, digest
from sealora_common.config import LARGE, JsonValue, from_json, read_file, why_not
from sealora_common.errors import StorageError, UnreadableError
from sealora_common.recipe import Recipe
from sealora_common.records.record import FiniteOrNone, WrittenRecord
from sealora_common.round.unsealed import SiteHeldout
from sealora_common.storage.durable import write_atomically
from sealora_server.simulation.sites import UnsealedSitesLike

_OUTCOMES = "outcomes"


class SiteOutcome(WrittenRecord):
    """The held-out records of one site under the arm's adapter."""

    site: str
    figure: FiniteOrNone
    """The recipe's held-out figure; null where the model has diverged."""
    by_unit: tuple[FiniteOrNone, ...]
    """Of each held-out record (person), in the order of the site's file: arms are compared record by record."""

    @classmethod
    def of(cls, found: SiteHeldout) -> SiteOutcome:
        """Of what a site measured."""
        return cls(site=found.site, figure=found.mean, by_unit=tuple(found.by_unit.tolist()))


class SeededOutcome(WrittenRecord):
    """What every outcome says of itself."""

    subject: str
    """What was tried, see `subject_of`."""
    arm: str
    seed: int


class ArmOutcome(SeededOutcome):
    """One arm under one seed."""

    rounds: int
    """That were trained."""
    kept_round: int
    norms: tuple[FiniteOrNone, ...]
    """Median norm of a gradient before clipping, mean over the parties, of each round."""
    seconds: float
    sites: tuple[SiteOutcome, ...]

    @property
    def figure(self) -> float | None:
        """The mean over the sites; None where the model has diverged."""
        found = [each.figure for each in self.sites]
        return None if None in found else fmean(figure for figure in found if figure is not None)


def subject_of(recipe: Recipe, sites: UnsealedSitesLike, *more: JsonValue) -> str:
    """SHA-256 (hex) of all that outcomes depend on beside the arm and the seed: recipe, records, version, and more."""
    return digest(canonical_json([__version__, recipe.hash, sites.digest, *more]))


Outcome = TypeVar("Outcome", bound=SeededOutcome)


class OutcomeStore(Generic[Outcome]):
    """Those that are in a directory of one comparison, or of another test that has arms and seeds.

    Args:
        directory: the comparison's.
        subject: of the comparison, see `subject_of`; those of another are refused.
        kind: what an outcome is.
        what: what people call that which a directory holds one of.

    Raises:
        StorageError: one that is there cannot be read, or is of another comparison; or a run is there.
    """

    def __init__(self, directory: Path, subject: str, kind: type[Outcome], what: str = "comparison") -> None:
        self._directory = directory
        self._kind, self._what = kind, what
        self.subject = subject
        if (directory / "run.json").exists():
            raise StorageError(f"{directory} holds a run, whose recipe would be overwritten: choose another --out")
        # All of them, whichever are wanted: a directory never holds two.
        found = [self._read(path) for path in sorted((directory / _OUTCOMES).glob("*.json"))]
        self._found = {(outcome.arm, outcome.seed): outcome for outcome in found}

    def find(self, arm: str, seed: int) -> Outcome | None:
        """What was computed of this arm and seed; None if nothing was."""
        return self._found.get((arm, seed))

    def keep(self, outcome: Outcome) -> None:
        """Writes it down, whole or not at all.

        Raises:
            StorageError: it could not be written.
        """
        path = self._directory / _OUTCOMES / f"{outcome.arm}-seed-{outcome.seed}.json"
        write_atomically(path, outcome.model_dump_json().encode() + b"\n")

    def _read(self, path: Path) -> Outcome:
        try:
            content = read_file(path, LARGE.longest)
            # First what all kinds have: another test's outcome is no damaged one of this.
            if from_json(SeededOutcome, content, LARGE).subject == self.subject:
                return from_json(self._kind, content, LARGE)
        except (OSError, UnreadableError) as error:
            raise StorageError(
                f"{path}: cannot be read ({why_not(error)}): delete it, and it is computed again"
            ) from None
        raise StorageError(
            f"{self._directory} holds a {self._what} of another recipe, of other records or by another version: "
            "choose another --out, or delete that directory"
        )
