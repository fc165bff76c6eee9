"""The one place that lets transformers read a model's files: none of the model's own code runs, and no pickle is read.

`tests/client/model/test_pretrained.py` refuses code that goes around it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sealora_common.errors import ModelError

_CODE = "trust_remote_code"


def load_model(directory: Path, **options: Any) -> PreTrainedModel:
    """The causal language model in `directory`, from safetensors (or a GGUF file that `options` name).

    Args:
        directory: a model's.
        options: of `from_pretrained`.

    Raises:
        ModelError: it needs code of its own, or its files lack weights of a causal language model.
        Exception: whatever damaged files make the libraries raise.
    """
    loader: Any = AutoModelForCausalLM
    model: PreTrainedModel
    if "gguf_file" in options:  # one that is pinned by its digest
        model = _without_code(loader, directory, options)
        return model
    with_weights = {"use_safetensors": True, "output_loading_info": True}
    model, told = _without_code(loader, directory, {**options, **with_weights})
    # What is not there would be drawn at random, anew at each site and each start. Tied weights are not told.
    lacking = sorted({*told["missing_keys"], *(name for name, *_ in told["mismatched_keys"])})
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise ModelError(
            f"the base model in {directory} lacks weights of a causal language model ({lacking[0]}{more}), as one that "
            "was saved as a classifier or without its head does: use the model with its output layer, or save it whole"
        )
    return model


def outline_of(directory: Path) -> PreTrainedModel:
    """The causal language model in `directory` without its weights: modules and shapes, on the device `meta`.

    Raises:
        ModelError: it needs code of its own.
        Exception: whatever a damaged configuration makes the libraries raise.
    """
    configuration = _without_code(AutoConfig, directory, {})
    maker: Any = AutoModelForCausalLM
    with torch.device("meta"):
        model: PreTrainedModel = maker.from_config(configuration, trust_remote_code=False)
    return model


def load_tokenizer(directory: Path, **options: Any) -> PreTrainedTokenizerBase:
    """The tokenizer in `directory`; arguments and errors as for `load_model`."""
    tokenizer: PreTrainedTokenizerBase = _without_code(AutoTokenizer, directory, options)
    return tokenizer


def with_adapter(model: PreTrainedModel, directory: Path) -> PeftModel:
    """`model` with the adapter in `directory`, which this process wrote there itself, as PEFT reads it.

    Raises:
        Exception: whatever damaged files make the library raise.
    """
    adapted: PeftModel = PeftModel.from_pretrained(model, str(directory), local_files_only=True)
    return adapted


def _without_code(loader: Any, directory: Path, options: dict[str, Any]) -> Any:
    try:
        # False and not left out: left out, transformers asks at the terminal, and a "y" runs the model's code.
        return loader.from_pretrained(directory, **options, local_files_only=True, trust_remote_code=False)
    except ValueError as error:
        if _CODE not in str(error):
            raise
        raise ModelError(
            f"the base model in {directory} needs code of its own (auto_map in its configuration), which is never run: "
            "use a model that transformers supports by itself"
        ) from None
