"""A base model with an adapter merged into its weights, so that nothing of PEFT is needed to open it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from sealora_client.model.base import load_base
from sealora_client.model.pretrained import with_adapter
from sealora_client.trained.trained_adapter import TrainedAdapter
from sealora_common.errors import ModelError
from sealora_common.export.choice import exporter_of


def merged_model(trained: TrainedAdapter, base: Path, aside: Path) -> PreTrainedModel:
    """The base model in `base` with the adapter in its weights.

    The base model is taken unquantised, in the type in which the recipe computes: a sum in 4 bits would be another
    model.

    Args:
        trained: the adapter.
        base: the base model's directory.
        aside: a directory in which there is nothing, and is nothing afterwards.

    Raises:
        ModelError: the adapter is no change of weights, or the base model does not load.
    """
    recipe = trained.recipe
    if recipe.adapter == "prompt_tuning":
        raise ModelError(
            "an adapter of the kind prompt_tuning is text before the prompt and no change of weights: export it "
            "as PEFT's files, without --merged or --onnx"
        )
    model = load_base(recipe.model.model_copy(update={"quantization": "none"}), base, as_agreed=True)
    # PEFT reads it from files, and these are what others are given: what is merged is what would be exported.
    exporter_of(recipe).export(aside, trained.tensors, recipe)
    adapted: Any = with_adapter(model, aside)
    shutil.rmtree(aside)
    merged: PreTrainedModel = adapted.merge_and_unload(safe_merge=True)
    return merged


def write_merged(trained: TrainedAdapter, base: Path, out: Path) -> None:
    """Writes weights (safetensors), configuration and generation settings into `out`; errors as of `merged_model`."""
    merged_model(trained, base, out / "adapter").save_pretrained(out)
