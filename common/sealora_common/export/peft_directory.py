"""An adapter on disk, as plain PEFT reads it: `adapter_config.json` and `adapter_model.safetensors`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from sealora_common.adapter import AdapterLayout, Tensors, adapter_kind
from sealora_common.config import LONGEST_TENSORS, read_file
from sealora_common.errors import ModelError, UnreadableError
from sealora_common.export.exporter import Exporter
from sealora_common.recipe import Recipe
from sealora_common.storage.durable import write_atomically

WEIGHTS = "adapter_model.safetensors"
CONFIGURATION = "adapter_config.json"


class PeftDirectory(Exporter):
    """What a run keeps of each round, too: the one form that Sealora reads back."""

    def export(self, directory: Path, tensors: Tensors, recipe: Recipe) -> str:
        """Weights and PEFT's configuration; the digest is that of the weights' file."""
        from safetensors.numpy import save  # here: who makes no adapter reads this package without the library

        kind = adapter_kind(recipe)
        weights = save(kind.published(tensors), metadata={"format": "pt"})
        peft = kind.peft_configuration(recipe.model, AdapterLayout.of(tensors))
        configuration = json.dumps(peft.model_dump(mode="json"), indent=2) + "\n"
        write_atomically(directory / WEIGHTS, weights)
        write_atomically(directory / CONFIGURATION, configuration.encode())
        return hashlib.sha256(weights).hexdigest()


def read_tensors(directory: Path) -> Tensors:
    """Reads the tensors of an adapter that `PeftDirectory` wrote.

    Raises:
        ModelError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return dict(load(read_file(directory / WEIGHTS, LONGEST_TENSORS)))
    except (OSError, UnreadableError, SafetensorError) as error:
        raise ModelError(f"{directory / WEIGHTS}: cannot be read ({error}): restore it or start a new run") from None


def read_held(directory: Path, recipe: Recipe) -> Tensors:
    """Reads the tensors of an adapter of the recipe's kind as a run holds them.

    Raises:
        ModelError: the file is missing or damaged, or of another kind.
    """
    return adapter_kind(recipe).held(read_tensors(directory))


def read_adapter(directory: Path, layout: AdapterLayout) -> Tensors:
    """Reads an adapter and checks it against `layout`.

    Raises:
        ModelError: the file is missing, damaged, or of another layout.
    """
    return layout.unflatten(layout.flatten(read_tensors(directory)))
