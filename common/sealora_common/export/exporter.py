"""What a run's store asks of a form in which adapters are published."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sealora_common.adapter import Tensors
from sealora_common.recipe import Recipe


class Exporter(Protocol):
    """One form of an adapter on disk."""

    def export(self, directory: Path, tensors: Tensors, recipe: Recipe) -> str:
        """Writes the adapter. Equal adapters are equal files.

        Args:
            directory: made if need be; files of the same names are replaced, each whole or not at all.
            tensors: all of the adapter's, by name.
            recipe: of the run.

        Returns:
            SHA-256 (hex) of the weights as they were written.

        Raises:
            StorageError: a file could not be written.
        """
