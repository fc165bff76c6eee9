"""What private training is compared with: one example at a time, in float64, by ordinary autograd.

The reference shares nothing with the engine but the weights: it runs the example alone and unpadded, takes the
loss from the model's logits by itself, and computes in float64, 4-bit layers included, wherever the model's own
code does not ask for float32 (norms, rotary angles).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from torch import Tensor
from torch.nn import functional

from sealora_client.data.example import Example
from sealora_client.model.adapted import AdaptedModel
from sealora_common.adapter import AdapterLayout
from sealora_common.privacy.accounting import PrivacyEvent
from sealora_common.privacy.mechanisms.local import LOCAL_GRID_STEPS
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe.schema import Recipe

LENGTHS = ((5, 9), (12, 3), (3, 17), (8, 1), (2, 6))  # (prompt, response) tokens


def recipe_for(base: Path, **changes: Any) -> Recipe:
    """A small recipe of record-level `local` privacy on the model in `base`, with sections and fields changed."""
    sections: dict[str, Any] = {
        "name": "tiny",
        "rounds": 4,
        "model": {"base": str(base), "quantization": "none", "compute_dtype": "float32"},
        "lora": {"rank": 4},
        "training": {"sample_rate": 0.5, "steps_per_round": 3, "micro_batch_size": 4, "learning_rate": 1e-2},
    }
    if changes.get("adapter", "lora") not in ("lora", "dora"):
        del sections["lora"]
    for section, values in changes.items():
        sections[section] = {**sections.get(section, {}), **values} if isinstance(values, dict) else values
    return Recipe.model_validate(sections)


def plan_for(recipe: Recipe, noise: float = 1.0, grid_steps: int = LOCAL_GRID_STEPS) -> TrainingPlan:
    """A round of the recipe with this much noise, on sums of a grid of their own; with neither if it has no privacy."""
    private = recipe.privacy.mechanism != "none"
    event = PrivacyEvent(noise if private else 0.0, recipe.training.sample_rate, recipe.training.steps_per_round)
    return TrainingPlan.of(recipe, event, grid_steps if private else 0)


def load(base: Path, **changes: dict[str, Any]) -> AdaptedModel:
    """The recipe's model under a random adapter: with B zero, as it starts, A would have no gradient."""
    model = AdaptedModel.load(recipe_for(base, **changes))
    write_random_adapter(model)
    return model


def write_random_adapter(model: AdaptedModel) -> None:
    """Equal models get equal adapters."""
    generator = np.random.default_rng(1)
    model.write({spec.name: generator.normal(0, 0.1, spec.shape) for spec in model.layout.tensors})


def random_examples(
    lengths: Sequence[tuple[int, int]] = LENGTHS, seed: int = 0, *, conversations: bool = False
) -> list[Example]:
    """Examples of random tokens, of these prompt and response lengths; with responses in long prompts, if wanted."""
    generator = np.random.default_rng(seed)
    return [
        Example(
            generator.integers(3, 384, prompt + response).astype(np.int32),
            prompt,
            earlier=((2, 5), (8, 9)) if conversations and prompt > 10 else (),
        )
        for prompt, response in lengths
    ]


def some_examples(count: int, seed: int = 0) -> list[Example]:
    """Examples of random lengths."""
    generator = np.random.default_rng(seed)
    lengths = [(int(generator.integers(2, 20)), int(generator.integers(1, 12))) for _ in range(count)]
    return random_examples(lengths, seed)


def reference_gradients(model: AdaptedModel, layout: AdapterLayout, examples: Sequence[Example]) -> Tensor:
    """Float64 (examples, P): each example's gradient of its mean loss a learned token."""
    model.train_only(layout)
    with in_float64(model):
        rows = [_gradient(model, layout, example) for example in examples]
    model.train_only(layout)
    return torch.stack(rows)


def _gradient(model: AdaptedModel, layout: AdapterLayout, example: Example) -> Tensor:
    tokens = torch.from_numpy(example.tokens.astype(np.int64)).to(model.device)
    logits = model.model(input_ids=tokens[None], use_cache=False).logits[0, -len(tokens) :]
    assert logits.dtype == torch.float64
    learned = torch.from_numpy(example.learned)[1:].to(model.device)
    loss = functional.cross_entropy(logits[:-1][learned], tokens[1:][learned])
    found = torch.autograd.grad(loss, model.parameters_of(layout))
    return torch.cat([gradient.reshape(-1) for gradient in found])


@contextmanager
def in_float64(model: AdaptedModel) -> Iterator[None]:
    """The model computes in float64 meanwhile, its 4-bit layers with their dequantised weights."""
    before = {name: tensor.dtype for name, tensor in _floating(model)}
    quantised = [module for module in model.model.modules() if isinstance(module, Linear4bit)]
    for module in quantised:
        weight = dequantize_4bit(module.weight.data, module.weight.quant_state).double()
        bias = None if module.bias is None else module.bias.double()
        module.__dict__["forward"] = partial(functional.linear, weight=weight, bias=bias)
    for _, tensor in _floating(model):
        tensor.data = tensor.data.double()
    try:
        yield
    finally:
        for name, tensor in _floating(model):
            tensor.data = tensor.data.to(before[name])
        for module in quantised:
            del module.__dict__["forward"]


def _floating(model: AdaptedModel) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in [*model.model.named_parameters(), *model.model.named_buffers()]:
        if tensor.is_floating_point():
            yield name, tensor


def clipped_sum_of(rows: Tensor, clip_norm: float) -> Tensor:
    """Abadi et al. 2016, Alg. 1: the sum of g * min(1, C / ||g||)."""
    norms = rows.norm(dim=1)
    factors = torch.where(norms > 0, clip_norm / norms, 1.0).clamp(max=1)
    return (rows * factors[:, None]).sum(dim=0)


def relative_error(found: Tensor, expected: Tensor) -> float:
    """L2 norm of the difference over that of `expected`."""
    return float((found.double() - expected).norm() / expected.norm())
