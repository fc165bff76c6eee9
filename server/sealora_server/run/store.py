"""A run on disk: its recipe, its events and every finished round, each written whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sealora_common.adapter import AdapterLayout, Tensors, adapter_kind
from sealora_common.config import LINE, LONGEST_TENSORS, SMALL, from_json, read_file, why_not
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import ModelError, PolicyError, ReceiptError, StorageError, UnreadableError
from sealora_common.export.choice import exporter_of
from sealora_common.export.peft_directory import PeftDirectory, read_adapter, read_held
from sealora_common.identity import Identity
from sealora_common.receipts.file import ReceiptFile
from sealora_common.receipts.receipt import Receipt
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.records.event_log import EventLog, read_events
from sealora_common.records.events import EvaluationFinished, RunFinished
from sealora_common.records.names import EVENTS
from sealora_common.roster.book import RosterBook
from sealora_common.storage.durable import rename_durably, write_atomically
from sealora_common.storage.own_files import make_directory
from sealora_server.run.best_round import ToldFigure
from sealora_server.run.stored.receipts import KeptReceipts
from sealora_server.run.stored.records import (
    EVALUATION,
    RECORD,
    RESULT,
    SERVER_KEY,
    EvaluationRecord,
    RoundRecord,
    RunIdentity,
    RunResult,
)
from sealora_server.run.strategy import State

_OPTIMIZER = "optimizer.safetensors"
_RECEIPT = "receipt.json"
_RECEIPTS = "receipts.jsonl"
_START = "start"


class RunStore:
    """The run directory. One process writes it at a time."""

    def __init__(self, directory: Path, identity: RunIdentity, recipe: Recipe) -> None:
        self.directory = directory
        self.run_id = identity.run_id
        self.recipe = recipe
        self.events = EventLog(directory / EVENTS)
        self.rosters = RosterBook(directory / "rosters")
        """Those that the run has been under: its receipts are checked with them."""
        self._server_key = directory / identity.server_key

    @classmethod
    def create(
        cls, directory: Path, recipe: Recipe, *, server_key: str | None = None, start: Tensors | None = None
    ) -> RunStore:
        """Starts a run in a new or empty directory.

        Args:
            directory: the run's directory.
            recipe: what is run.
            server_key: path, from that directory, of the key that signs orders and receipts; None makes one there.
            start: the adapter that it begins with, if the recipe has a `continue_from` (see `starting_adapter`).

        Raises:
            StorageError: the directory holds a run already, or cannot be written.
        """
        if (directory / "run.json").exists():
            raise StorageError(
                f"{directory} holds a run already: choose another --out, add --resume to go on with it, "
                "or delete the directory"
            )
        identity = RunIdentity(
            run_id=secrets.token_hex(16), recipe_hash=recipe.hash, server_key=server_key or SERVER_KEY
        )
        make_directory(directory)
        text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        write_atomically(directory / "recipe.yaml", text.encode())
        if start is not None:
            PeftDirectory().export(directory / _START, start, recipe)
        if server_key is None:
            Identity.create("server", SystemEntropy()).save(directory / SERVER_KEY)
        write_atomically(directory / "run.json", identity.model_dump_json(indent=2).encode())
        return cls(directory, identity, recipe)

    @classmethod
    def open(cls, directory: Path) -> RunStore:
        """Opens a run that `create` started.

        Raises:
            StorageError: there is none, or its files do not belong together.
        """
        path = directory / "run.json"
        try:
            identity = from_json(RunIdentity, read_file(path, SMALL.longest), SMALL)
        except (FileNotFoundError, NotADirectoryError):
            raise StorageError(f"{directory} holds no run to resume: leave --resume out to start one") from None
        except (OSError, UnreadableError) as error:
            raise StorageError(
                f"{path}: cannot be read ({why_not(error)}): restore it from a backup, or delete the run's directory"
            ) from None
        recipe = load_recipe(directory / "recipe.yaml")
        if recipe.hash != identity.recipe_hash:
            raise StorageError(f"{directory / 'recipe.yaml'} was changed since the run began: restore it or start anew")
        return cls(directory, identity, recipe)

    @property
    def finished_rounds(self) -> int:
        """How many rounds are finished: the longest unbroken sequence 1, 2, ..."""
        count = 0
        while (self.round_directory(count + 1) / RECORD).exists():
            count += 1
        return count

    def record(self, round_number: int) -> RoundRecord:
        """What came of a finished round.

        Raises:
            StorageError: its file is damaged.
        """
        path = self.round_directory(round_number) / RECORD
        try:
            return from_json(RoundRecord, read_file(path, LINE.longest))
        except (OSError, UnreadableError):
            raise _damaged(path) from None

    def told_figures(self, rounds: int) -> list[ToldFigure]:
        """What the first so many rounds told of the adapters that came into them, in their order.

        Raises:
            StorageError: a round's file is damaged.
        """
        return [figure for number in range(1, rounds + 1) for figure in self.record(number).told]

    def server_identity(self) -> Identity:
        """The key that signs this run's orders and receipts."""
        return Identity.load("server", self._server_key)

    def receipts(self) -> list[Receipt]:
        """The receipts of all finished rounds, in order.

        Raises:
            StorageError: one of them is damaged.
        """
        return [self.receipt(round_number) for round_number in range(1, self.finished_rounds + 1)]

    def receipt(self, round_number: int) -> Receipt:
        """The receipt of a finished round.

        Raises:
            StorageError: it is damaged.
        """
        path = self.receipt_path(round_number)
        try:
            return Receipt.from_line(read_file(path, LINE.longest))
        except (OSError, UnreadableError, ReceiptError):
            raise _damaged(path) from None

    def receipt_path(self, round_number: int) -> Path:
        """The file of a finished round's receipt."""
        return self.round_directory(round_number) / _RECEIPT

    def mended_receipts(self) -> KeptReceipts:
        """As `receipts`, when `receipts.jsonl` holds the same: the server may have been killed between round and line.

        Raises:
            StorageError: one of them is damaged, or the file cannot be written.
        """
        chain, file = self.receipts(), ReceiptFile(self.directory / _RECEIPTS)
        try:
            same = file.read() == chain
        except PolicyError:
            same = False
        if not same:
            file.replace(chain)
        return KeptReceipts(len(chain), self.receipt)

    def adapter(self, round_number: int, layout: AdapterLayout) -> Tensors:
        """The adapter after a finished round; after round 0, the one that the run began with.

        Raises:
            ModelError: its file is missing, damaged, or of another layout.
        """
        if round_number > 0:
            directory = self.round_directory(round_number) / "adapter"
            if not directory.exists() and (directory.parent / RECORD).exists():
                raise ModelError(
                    f"{directory}: is not kept any more, see `adapters` in server.yaml: take a later round's, or the "
                    "final one"
                )
            return read_adapter(directory, layout)
        start = self.start
        if start is None:
            return adapter_kind(self.recipe).initial(layout)
        if more := sorted(set(start) - set(layout.names)):
            raise ModelError(
                f"{self._start}: its tensor {more[0]} is none of the recipe's model: go on with the base model and the "
                "kind of adapter that it was trained with"
            )
        return layout.unflatten(layout.flatten(start))

    @property
    def start(self) -> Tensors | None:
        """The adapter that the run began with; None if that is the recipe's initial one.

        Raises:
            ModelError: its file is damaged.
        """
        return None if self.recipe.continue_from is None else read_held(self._start, self.recipe)

    def optimizer(self, round_number: int) -> State:
        """The server optimiser's state after a finished round.

        Raises:
            StorageError: its file is damaged.
        """
        path = self.round_directory(round_number) / _OPTIMIZER
        try:
            return dict(load(read_file(path, LONGEST_TENSORS))) if path.exists() else {}
        except (OSError, UnreadableError, SafetensorError):
            raise _damaged(path) from None

    def finish_round(
        self,
        round_number: int,
        *,
        tensors: Tensors,
        optimizer: State,
        receipt: Receipt,
        attempt: int,
        survivors: tuple[str, ...],
        heldout_loss: float | None,
        clipped_fraction: float,
        next_clip_range: float,
        next_clip_norm: float,
        seconds: float,
    ) -> RoundRecord:
        """Stores a round: built aside, flushed, then renamed into place, so it is there whole or not at all.

        Raises:
            StorageError: it could not be written; the run can be resumed at this round.
        """
        final = self.round_directory(round_number)
        aside = final.with_name(f".{final.name}.unfinished")
        shutil.rmtree(aside, ignore_errors=True)
        record = RoundRecord(
            round_number=round_number,
            attempt=attempt,
            survivors=survivors,
            heldout_loss=heldout_loss,
            clipped_fraction=clipped_fraction,
            next_clip_range=next_clip_range,
            next_clip_norm=next_clip_norm,
            adapter_sha256=PeftDirectory().export(aside / "adapter", tensors, self.recipe),
            seconds=seconds,
        )
        if optimizer:
            write_atomically(aside / _OPTIMIZER, save(_contiguous(optimizer)))
        write_atomically(aside / _RECEIPT, receipt.to_line())
        write_atomically(aside / RECORD, record.model_dump_json(indent=2).encode())
        rename_durably(aside, final)
        # Not before: the round counts, and its receipt with it, when its directory is there.
        ReceiptFile(self.directory / _RECEIPTS).append([receipt])
        return record

    @property
    def evaluation(self) -> EvaluationRecord | None:
        """What came of the final evaluation; None if there was none yet.

        Of a run whose directory an older version wrote it stands in the log alone.

        Raises:
            StorageError: its file is damaged.
        """
        path = self.directory / EVALUATION
        if not path.exists():
            told = (entry.event for entry in reversed(read_events(self.events.path)))
            last = next((event for event in told if isinstance(event, EvaluationFinished)), None)
            if last is None or last.heldout_loss is None:
                return None
            return EvaluationRecord(heldout_loss=last.heldout_loss, survivors=last.survivors)
        try:
            return from_json(EvaluationRecord, read_file(path, LINE.longest))
        except (OSError, UnreadableError):
            raise StorageError(
                f"{path}: cannot be read: restore it, or delete it and resume, which costs the sites another evaluation"
            ) from None

    def finish_evaluation(self, record: EvaluationRecord) -> None:
        """Stores the final evaluation.

        Raises:
            StorageError: it could not be written.
        """
        write_atomically(self.directory / EVALUATION, record.model_dump_json(indent=2).encode())

    @property
    def is_finished(self) -> bool:
        """Whether the run has come to its end. Where an older version wrote its directory, the log alone says so."""
        if (self.directory / RESULT).exists():
            return True
        return any(isinstance(entry.event, RunFinished) for entry in read_events(self.events.path))

    @property
    def result(self) -> RunResult | None:
        """What came of the run; None before its end, and where an older version wrote its directory.

        Raises:
            StorageError: its file is damaged.
        """
        path = self.directory / RESULT
        try:
            return from_json(RunResult, read_file(path, SMALL.longest), SMALL)
        except FileNotFoundError:
            return None
        except (OSError, UnreadableError):
            raise StorageError(f"{path}: cannot be read: restore it from a backup") from None

    def finish(self, result: RunResult) -> None:
        """Stores that the run has come to its end, and with what.

        Raises:
            StorageError: it could not be written.
        """
        write_atomically(self.directory / RESULT, result.model_dump_json(indent=2).encode())

    def publish(self, tensors: Tensors) -> str:
        """Writes the run's final adapter to `adapter/`; returns the SHA-256 (hex) of its weights."""
        return exporter_of(self.recipe).export(self.directory / "adapter", tensors, self.recipe)

    def round_directory(self, round_number: int) -> Path:
        """Where a round is kept, once it is finished."""
        return self.directory / "rounds" / f"{round_number:04d}"

    @property
    def _start(self) -> Path:
        return self.directory / _START


def _damaged(path: Path) -> StorageError:
    return StorageError(f"{path}: cannot be read: restore it, or delete its round and the later ones and resume")


def _contiguous(state: State) -> dict[str, NDArray[np.generic]]:
    return {name: np.ascontiguousarray(value) for name, value in state.items()}
