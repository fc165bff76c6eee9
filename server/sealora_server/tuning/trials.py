"""What came of one trial, and the files that keep it, so that it is run once.

LOCAL where the records are public or synthetic: the figures are exact then. Of private records a trial keeps nothing
but its values and figures that carry their noise.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal

from sealora_common.config import LARGE, from_json, read_file, why_not
from sealora_common.errors import StorageError, UnreadableError
from sealora_common.recipe.text import FieldValue
from sealora_common.records.record import FiniteOrNone, WrittenRecord
from sealora_common.storage.durable import write_atomically
from sealora_server.comparison.outcome import ArmOutcome

TrialEnd = Literal["done", "diverged", "pruned", "refused"]
"""`refused`: the recipe's schema, or the model, takes no such values together, and nothing was trained."""

AS_WRITTEN = 1
"""The number of the trial of the recipe as it is."""
_TRIALS = "trials"


class RoundFigure(WrittenRecord):
    """What the sites' sum told of an adapter on its way, as in a run."""

    rounds: int
    """That it had been trained."""
    figure: FiniteOrNone


class TuningTrial(WrittenRecord):
    """One recipe, tried under every seed."""

    subject: str
    """What is tuned, see `subject_of_tuning`."""
    number: int
    """From 1, which is the recipe as it is."""
    values: dict[str, FieldValue]
    """Of the searched fields, by their dotted names."""
    end: TrialEnd
    reason: str = ""
    """Why it was refused, or pruned."""
    figures: tuple[FiniteOrNone, ...] = ()
    """The recipe's held-out figure by seed: exact, or of private records with its noise; null where it has diverged."""
    on_the_way: tuple[RoundFigure, ...] = ()
    """Under the first seed, of a recipe that compares its rounds."""
    outcomes: tuple[ArmOutcome, ...] = ()
    """By seed, record by record; empty of private records."""

    @property
    def figure(self) -> float | None:
        """The mean over the seeds; None without one, or where the model has diverged under any."""
        found = [figure for figure in self.figures if figure is not None]
        return fmean(found) if self.end == "done" and len(found) == len(self.figures) > 0 else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None with one."""
        found = [figure for figure in self.figures if figure is not None]
        return stdev(found) if self.figure is not None and len(found) > 1 else None

    @property
    def was_trained(self) -> bool:
        """Whether anything was computed of the records."""
        return self.end != "refused"


class TrialStore:
    """The trials that are in a tuning's directory.

    Args:
        directory: the tuning's.
        subject: of the tuning; trials of another are refused.
        fields: that are searched.

    Raises:
        StorageError: one that is there cannot be read, or is of another tuning; or a run or a comparison is there.
    """

    def __init__(self, directory: Path, subject: str, fields: Collection[str]) -> None:
        self._directory = directory
        self._fields = set(fields)
        self.subject = subject
        for name, what in (("run.json", "a run"), ("outcomes", "a comparison")):
            if (directory / name).exists():
                raise StorageError(f"{directory} holds {what}: choose another --out")
        found = [self._read(path) for path in sorted((directory / _TRIALS).glob("*.json"))]
        self._found = {trial.number: trial for trial in found}

    def find(self, number: int) -> TuningTrial | None:
        """What came of the trial with this number; None if it was not run."""
        return self._found.get(number)

    @property
    def all(self) -> tuple[TuningTrial, ...]:
        """By number."""
        return tuple(self._found[number] for number in sorted(self._found))

    def before(self, number: int) -> tuple[TuningTrial, ...]:
        """Those with smaller numbers."""
        return tuple(trial for trial in self.all if trial.number < number)

    def keep(self, trial: TuningTrial) -> None:
        """Writes it down, whole or not at all.

        Raises:
            StorageError: it could not be written.
        """
        write_atomically(self._path(trial.number), trial.model_dump_json().encode() + b"\n")
        self._found[trial.number] = trial

    def _path(self, number: int) -> Path:
        return self._directory / _TRIALS / f"{number:04d}.json"

    def _read(self, path: Path) -> TuningTrial:
        try:
            found = from_json(TuningTrial, read_file(path, LARGE.longest), LARGE)
        except (OSError, UnreadableError) as error:
            raise StorageError(f"{path}: cannot be read ({why_not(error)}): delete it, and it is run again") from None
        if found.subject != self.subject:
            raise StorageError(
                f"{self._directory} holds a tuning of another recipe, another search, other records, other seeds or by "
                "another version: choose another --out, or delete that directory"
            )
        if path != self._path(found.number) or found.values.keys() != self._fields:
            raise StorageError(f"{path}: is not as it was written: delete it, and it is run again")
        return found
