"""A base model with an adapter merged into its weights, so that nothing of PEFT is needed to open it."""

from __future__ import annotations

import shutil
from pathlib import Path

from sealora_client.model.base import load_base
from sealora_client.model.pretrained import with_adapter
from sealora_client.trained.trained_adapter import TrainedAdapter
from sealora_common.errors import ModelError
from sealora_common.export.choice import exporter_of


def write_merged(trained: TrainedAdapter, base: Path, out: Path) -> None:
    """Writes weights (safetensors), configuration and generation settings into `out`.

    The base model is taken unquantised, in the type in which the recipe computes: a sum in 4 bits would be another
    model.

    Raises:
        ModelError: the adapter is no change of weights, or the base model does not load.
    """
    recipe = trained.recipe
    if recipe.adapter == "prompt_tuning":
        raise ModelError(
            "an adapter of the kind prompt_tuning is text before the prompt and no change of weights: export it "
            "without --merged"
        )
    model = load_base(recipe.model.model_copy(update={"quantization": "none"}), base)
    # PEFT reads it from files, and these are what others are given: what is merged is what would be exported.
    aside = out / "adapter"
    exporter_of(recipe).export(aside, trained.tensors, recipe)
    adapted = with_adapter(model, aside)
    shutil.rmtree(aside)
    merged = adapted.merge_and_unload(safe_merge=True)
    merged.save_pretrained(out)
