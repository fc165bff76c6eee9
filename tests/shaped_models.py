"""Models of random weights in the shape of real ones, made on the device they are to run on, quantised layer by layer.

What a step takes, in time and memory, follows from shapes and types and hardly from values, so a model that would be a
download of 16 GB is made in seconds, and never lies on the disk or as a whole in 16 bits in memory.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from bitsandbytes.nn import Linear4bit, Params4bit
from torch import nn

from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.adapters.choice import attachment
from sealora_client.model.base import _keep_gradients_true
from sealora_common.adapter import adapter_kind
from sealora_common.recipe import Recipe

from tiny_models import tiny_tokenizer

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 384,
    },
    "SmolLM2-135M": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
    },
    "Llama-3.1-8B": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
}
"""Of the models' own configurations on the Hugging Face hub."""
_STD = 0.02


def shaped_model(shape: str, recipe: Recipe, device: torch.device) -> AdaptedModel:
    """A Llama of this shape in NF4, as `load_base` would have it, with the recipe's adapter on it.

    Args:
        shape: a name of `SHAPES`.
        recipe: its `model` says the types; `model.quantization` must be nf4.
        device: where it is made, and stays.
    """
    section = recipe.model
    assert section.quantization == "nf4"
    dtype = getattr(torch, section.compute_dtype)
    attention = "sdpa" if section.attention == "flash_attention_2" else section.attention
    config = transformers.LlamaConfig(max_position_embeddings=8192, tie_word_embeddings=False, **SHAPES[shape])
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    generator = torch.Generator(device).manual_seed(0)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name != "lm_head":
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, _in_four_bits(module, dtype, generator))
    for name, parameter in list(model.named_parameters()):
        if parameter.is_meta:
            norm = parameter.dim() == 1
            values = torch.ones(parameter.shape, dtype=dtype, device=device) if norm else _random(parameter, generator)
            _put(model, name, nn.Parameter(values, requires_grad=False))
    rotary = model.model.rotary_emb
    model.model.rotary_emb = type(rotary)(config=config).to(device)
    assert not [name for name, tensor in [*model.named_parameters(), *model.named_buffers()] if tensor.is_meta]
    model.is_loaded_in_4bit = True  # by which PEFT chooses its layers
    model.requires_grad_(False)
    _keep_gradients_true(model)
    if section.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    attached = attachment(recipe)
    peft = attached.attach(model)
    adapted = AdaptedModel(peft, attached.tensors(peft), tiny_tokenizer(), "00" * 32)
    adapted.write(adapter_kind(recipe).initial(adapted.layout))
    return adapted


def _in_four_bits(linear: nn.Linear, dtype: torch.dtype, generator: torch.Generator) -> Linear4bit:
    options: dict[str, Any] = {"compress_statistics": True, "quant_type": "nf4"}
    made = Linear4bit(
        linear.in_features, linear.out_features, bias=False, compute_dtype=dtype, device="meta", **options
    )
    made.weight = Params4bit(_random(linear.weight, generator), requires_grad=False, **options).to(generator.device)
    return made


def _random(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(like.shape, generator=generator, device=generator.device, dtype=like.dtype).mul_(_STD)


def _put(model: nn.Module, name: str, parameter: nn.Parameter) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, parameter)
