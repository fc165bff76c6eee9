"""Which rounds' adapters a run keeps: of hundreds of rounds, each as large as the adapter, few are of use.

What is deleted is a round's adapter and its optimiser's state, nothing else: receipts, records and events of every
round stay, so chains verify and sites catch up as before. Never deleted are those of the last round, from which a run
goes on, and of the best round so far where the recipe publishes it (`server.keep: best`): which round that is changes
to a later one only, so what was passed over is never wanted again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from sealora_common.errors import SealoraError
from sealora_common.storage.durable import rename_durably
from sealora_common.storage.lock import LockedError, locked
from sealora_server.run.best_round import best_figure
from sealora_server.run.store import RunStore

log = logging.getLogger(__name__)

_LOCK = ".adapters.lock"
_DISPENSABLE = ("adapter", "optimizer.safetensors")


class AdapterRetention(BaseModel):
    """Which rounds' adapters are kept beside the final one."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    keep_last: int | None = Field(default=5, ge=1, le=1_000_000)
    """Those of the last so many rounds; null: of all."""
    keep_best: bool = True
    """That of the best round so far, too, as far as held-out figures tell."""
    keep_every: int | None = Field(default=None, ge=1, le=1_000_000)
    """Those of rounds 1, 1 + n, 1 + 2n, ... too, to see how a run went; null: none."""


@contextlib.contextmanager
def adapters_held(directory: Path) -> Iterator[None]:
    """While it is entered no adapter of the run in `directory` is deleted: whoever copies a run needs that."""
    with locked(directory / _LOCK, seconds=None):
        yield


def prune(store: RunStore, retention: AdapterRetention) -> list[int]:
    """Deletes the adapters that the run need not keep; returns the rounds whose adapters it deleted.

    A kill at any instant leaves each of them whole or gone. What cannot be deleted now is deleted after a later round:
    that is told in the log, and no reason for a run to stop.
    """
    if retention.keep_last is None:
        return []
    deleted: list[int] = []
    try:
        with locked(store.directory / _LOCK):
            done = store.finished_rounds
            wanted = wanted_rounds(store, retention, done)
            dispensable = sorted(set(range(1, done + 1)) - wanted)
            deleted += [number for number in dispensable if _delete(store.round_directory(number))]
    except LockedError:
        log.info("%s: a copy of the run is being made; old rounds' adapters are deleted afterwards", store.directory)
    except (SealoraError, OSError) as error:
        log.warning("%s: old rounds' adapters could not be deleted: %s", store.directory, error)
    return deleted


def wanted_rounds(store: RunStore, retention: AdapterRetention, done: int) -> set[int]:
    """The rounds, of the first `done`, whose adapters are kept.

    Raises:
        StorageError: a round's record is damaged.
    """
    last = done if retention.keep_last is None else retention.keep_last
    wanted = set(range(max(1, done - last + 1), done + 1))
    if retention.keep_every is not None:
        wanted |= set(range(1, done + 1, retention.keep_every))
    if retention.keep_best or store.recipe.server.compares_rounds:
        told = store.told_figures(done)
        # The last adapter has no figure yet: it is among the last ones, and so kept until it has.
        wanted |= {best_figure(store.recipe, told).trained} if told else set()
    return wanted


def _delete(round_directory: Path) -> bool:
    """Deletes what a round can do without, under a name that nobody reads first; whether there was an adapter."""
    found = False
    for name in _DISPENSABLE:
        path, going = round_directory / name, round_directory / f".{name}.deleted"
        if path.exists():
            found |= name == "adapter"
            _remove(going)  # of a deletion that was cut short, or else there is no room for its name
            rename_durably(path, going)
        _remove(going)
    return found


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        os.unlink(path)
