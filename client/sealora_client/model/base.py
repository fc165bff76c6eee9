"""The base model: frozen, quantised to 4 bits or not, loaded from a local directory of safetensors."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from transformers import BitsAndBytesConfig, PreTrainedModel
from transformers.utils import is_flash_attn_2_available
from transformers.utils import logging as transformers_logging

from sealora_client.model.base_checks.causality import check_architecture, check_causality
from sealora_client.model.base_checks.files import check_quantization, check_weights
from sealora_client.model.device import arithmetic_dtype, is_gpu, training_device
from sealora_client.model.model_files import check_directory
from sealora_client.model.pretrained import load_model
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.model import ModelSection

log = logging.getLogger(__name__)


def load_base(section: ModelSection, directory: Path, *, as_agreed: bool = False) -> PreTrainedModel:
    """Loads the causal language model in `directory`, on the device that `model.device` chooses.

    All its parameters are frozen. With `nf4`, linear layers hold 4-bit NormalFloat weights with doubly quantised
    constants (QLoRA, Dettmers et al. 2023, arXiv:2305.14314) and compute in `compute_dtype`; the other layers,
    and every layer with `none`, are stored in `compute_dtype`. On a CPU that has no kernels for it, it is float32, but
    `as_agreed`; a model that is quantised already computes in what it says itself, which is the recipe's.

    Raises:
        ModelError: the directory lacks a configuration or weights, needs code of its own, cannot be loaded, is
            quantised otherwise than the recipe says, holds weights that are no numbers, or is no causal one.
    """
    check_directory(directory)
    check_architecture(directory)
    check_quantization(section, directory)
    transformers_logging.disable_progress_bar()
    compute_dtype = arithmetic_dtype(section.compute_dtype, as_agreed=as_agreed)
    options: dict[str, Any] = {}
    if section.quantization == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute_dtype,
        )
    try:
        model = load_model(
            directory,
            dtype=compute_dtype,
            attn_implementation=_attention(section),
            device_map={"": training_device()},
            **options,
        )
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged or unsupported model makes the libraries raise
        if "attn_implementation" in str(error) and section.attention != "eager":
            raise ModelError(
                f"the base model in {directory} has no {section.attention} attention: agree on model.attention: eager"
            ) from error
        raise ModelError(
            f"the base model in {directory} cannot be loaded ({_first_line(error)}): "
            "check that its files are complete and that it is a causal language model"
        ) from error
    check_weights(directory)
    model.requires_grad_(False)
    _keep_gradients_true(model)
    check_causality(model, directory)
    if section.gradient_checkpointing:
        # Not re-entrant: the inputs of the first layer need no gradient then (they have none, as the embedding is
        # frozen), and the per-example gradients of `training.per_example` come out exact.
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def _attention(section: ModelSection) -> str:
    if section.attention != "flash_attention_2":
        return section.attention
    on_gpu = is_gpu(training_device())
    if on_gpu and is_flash_attn_2_available() and section.compute_dtype != "float32":
        return section.attention
    log.warning(
        "model.attention: flash_attention_2 needs CUDA, the package flash-attn and a 16-bit compute_dtype; using sdpa"
    )
    return "sdpa"


def _keep_gradients_true(model: PreTrainedModel) -> None:
    """Switches off the bitsandbytes CPU kernel that silently spoils gradients.

    On CPUs with AVX512-BF16 one forward in `eval()` under `no_grad` packs the 4-bit weights and `train()` does not
    unpack them: every later backward is wrong (cosine 0.2 to the true gradient) without any error.
    """
    try:
        from bitsandbytes.nn import Linear4bit
    except ImportError:  # then no layer is quantised
        return
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
