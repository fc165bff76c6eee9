"""What a site remembers of a round between two stages, and where.

A real site has it in the memory of its process alone, so that its secrets are gone with the process. In a simulation
that would be the vectors of hundreds of sites, and what each was told by all others, in one process, or on the way to
Ray's workers and back. There it lies in the site's directory, for this account alone, from one stage to the next; all
that is in memory is its digest, so that whatever else comes to lie there is not taken for it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from flwr.app import ConfigRecord, Context

from sealora_common.config import LARGE, LONGEST_TENSORS, read_file
from sealora_common.errors import StorageError, UnreadableError, storage_error
from sealora_common.records.names import PARTITION, ROUND_ASIDE
from sealora_common.storage.own_files import open_own

_STATE = "sealora"


@dataclass(frozen=True)
class Remembered:
    """A round between two of its stages. Holds secrets: never log it.

    Attributes:
        round: the JSON of a `RoundState`.
        encoded: the contribution, encoded but not masked; empty once it has been.
        bytes_up: sent by the site in the round so far.
        bytes_down: received.
    """

    round: bytes
    encoded: bytes
    bytes_up: int
    bytes_down: int


def remember(context: Context, directory: Path, kept: Remembered) -> None:
    """Keeps it, in place of what was kept of any round before.

    Args:
        context: of the site's node.
        directory: the site's.
        kept: what is kept.

    Raises:
        StorageError: it could not be written.
    """
    record = {"bytes-up": kept.bytes_up, "bytes-down": kept.bytes_down}
    if PARTITION in context.node_config:
        content = kept.round + b"\n" + kept.encoded  # JSON in one line
        _write(directory / ROUND_ASIDE, content)
        context.state[_STATE] = ConfigRecord({**record, "aside": hashlib.sha256(content).digest()})
    else:
        context.state[_STATE] = ConfigRecord({**record, "round": kept.round, "encoded": kept.encoded})


def recall(context: Context, directory: Path) -> Remembered | None:
    """What was kept, which is forgotten with that; None if the site is in no round.

    Raises:
        StorageError: it cannot be read any more.
    """
    record = context.state.config_records.get(_STATE)
    if record is None:
        return None
    del context.state[_STATE]
    kept = dict(record)
    if "aside" in kept:
        kept["round"], _, kept["encoded"] = _taken(directory / ROUND_ASIDE, kept["aside"]).partition(b"\n")
    return Remembered(
        round=bytes(kept["round"]),  # type: ignore[arg-type]
        encoded=bytes(kept["encoded"]),  # type: ignore[arg-type]
        bytes_up=int(kept["bytes-up"]),  # type: ignore[arg-type]
        bytes_down=int(kept["bytes-down"]),  # type: ignore[arg-type]
    )


def forget(context: Context) -> None:
    """Makes the site be in no round; what lies in a directory is nothing without its digest."""
    context.state.pop(_STATE, None)


def _write(file: Path, content: bytes) -> None:
    # Not flushed to the disk: after a crash a site is in no round, so that nobody would ask for it.
    try:
        with os.fdopen(open_own(file, os.O_WRONLY | os.O_TRUNC), "wb") as opened:
            opened.write(content)
    except OSError as error:
        raise storage_error(file, error) from error


def _taken(file: Path, digest: object) -> bytes:
    try:
        content = read_file(file, LARGE.longest + LONGEST_TENSORS)
        file.unlink()
    except OSError as error:
        raise storage_error(file, error) from error
    except UnreadableError:
        raise _changed(file) from None
    if hashlib.sha256(content).digest() != digest:
        raise _changed(file)
    return content


def _changed(file: Path) -> StorageError:
    return StorageError(f"{file}: was changed between two stages of a round: let nothing else write there")
