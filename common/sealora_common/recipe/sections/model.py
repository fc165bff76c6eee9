"""The section `model`: the base model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sealora_common.recipe.sections.section import Section


class ModelSection(Section):
    """The base model, which every site loads for itself and which is never trained."""

    base: str = Field(min_length=1)
    """`smollm2-135m-instruct`, a Hugging Face id, or a local directory."""
    revision: str | None = None
    """Commit of a Hugging Face id."""
    digest: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 over the base model's files (`sealora-site model digest`). A simulation fills it in."""
    quantization: Literal["nf4", "none"] = "nf4"
    """`nf4`: 4-bit NormalFloat with double quantisation (QLoRA, Dettmers et al. 2023)."""
    compute_dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """In which type the base model computes; the adapter, its gradients and its noise are float32 always. On a CPU that
    has no kernels for it the same site uses `float32`, unless `adapter` is `dora`, `layer_norm` or `full`."""
    attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa"
    """Which of transformers' implementations of attention is used; `flash_attention_2` needs CUDA and its package."""
    gradient_checkpointing: bool = False
    """Whether activations are computed again in the backward pass in place of being kept: less memory, more time."""
