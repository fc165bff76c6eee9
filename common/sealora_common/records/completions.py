"""Example answers of the model before and after a run, in a simulation's `completions.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter

from sealora_common.config import LINE, adapted_from_json, read_file
from sealora_common.errors import UnreadableError
from sealora_common.records.names import COMPLETIONS
from sealora_common.records.record import WrittenRecord
from sealora_common.storage.durable import write_atomically


class Completion(WrittenRecord):
    """One held-out prompt and what the model makes of it before and after."""

    site: str
    prompt: str
    reference: str
    before: str
    after: str

    @property
    def is_exact(self) -> bool:
        """Whether the answer after the run is the reference to the letter, as exact match counts it."""
        return self.after.strip() == self.reference.strip()


_completions: TypeAdapter[tuple[Completion, ...]] = TypeAdapter(tuple[Completion, ...])


def write_completions(run_dir: Path, completions: Sequence[Completion]) -> None:
    """Writes the run's example completions.

    Raises:
        StorageError: the file could not be written.
    """
    text = json.dumps([completion.model_dump() for completion in completions], indent=2, ensure_ascii=False)
    write_atomically(run_dir / COMPLETIONS, text.encode())


def read_completions(run_dir: Path) -> tuple[Completion, ...]:
    """The run's example completions; none where the file is missing or unreadable."""
    try:
        return adapted_from_json(_completions, read_file(run_dir / COMPLETIONS, LINE.longest))
    except (OSError, UnreadableError):
        return ()
