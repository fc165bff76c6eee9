"""What must be exact wherever a site trains: sums by record, rows kept apart, 4-bit weights, noise."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from safetensors.torch import load_file

from quick_cases import quick_cases
from sealora_client.data.population import Population
from sealora_client.evaluation.heldout_loss import heldout_loss
from sealora_client.ledger import Rehearsal
from sealora_client.model.adapted import AdaptedModel
from sealora_client.objective.causal import CausalLanguageModelling
from sealora_client.training import clipped_sum
from sealora_client.training.clipped_sum import ClippedSum
from sealora_client.training.dp_sgd import train_round
from sealora_client.training.gradients.batch_invariance import require_batch_invariant
from sealora_client.training.noise.rounded_gaussian import rounded_gaussian
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SeededEntropy
from sealora_common.recipe import Recipe

from device_waits import waits
from single_examples import (
    clipped_sum_of,
    plan_for,
    recipe_for,
    reference_gradients,
    relative_error,
    some_examples,
    write_random_adapter,
)

Base = Callable[..., Path]
Found = Callable[[str], None]
GRID = 1 << 24
NF4 = {"quantization": "nf4", "compute_dtype": "bfloat16"}


def loaded(base: Path, **changes: Any) -> tuple[AdaptedModel, Recipe]:
    recipe = recipe_for(base, **{"training": {"sample_rate": 1.0, "micro_batch_size": 4}, **changes})
    model = AdaptedModel.load(recipe)
    write_random_adapter(model)
    return model, recipe


def sums_of(model: AdaptedModel, recipe: Recipe, population: Population, clip_norm: float = 1.0) -> ClippedSum:
    layout = adapter_kind(recipe).trained(model.layout, 1)
    plan = plan_for(recipe, grid_steps=GRID)
    return ClippedSum(
        model, layout, population, plan=plan, recipe=recipe, clip_norm=clip_norm, entropy=SeededEntropy("device")
    )


def total_of(model: AdaptedModel, recipe: Recipe, population: Population, clip_norm: float = 1.0) -> torch.Tensor:
    with sums_of(model, recipe, population, clip_norm) as sums:
        total = sums.draw()
    assert total.device.type == model.device.type
    return total


@pytest.mark.slow
@pytest.mark.check("per-example clipped sums equal a float64 loop over single examples")
@pytest.mark.parametrize("aggregation", ["ffa", "average"])
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_clipped_sums(device: torch.device, tiny_base: Base, found: Found, quantization: str, aggregation: str) -> None:
    model, recipe = loaded(
        tiny_base(), model={"quantization": quantization}, lora={"rank": 4, "aggregation": aggregation}
    )
    assert model.device.type == device.type
    examples = some_examples(10)
    rows = reference_gradients(model, adapter_kind(recipe).trained(model.layout, 1), examples)
    clip_norm = float(rows.norm(dim=1).median())
    total = total_of(model, recipe, Population.of(examples), clip_norm)
    error = relative_error(total * clip_norm / GRID, clipped_sum_of(rows, clip_norm))
    found(f"relative error {error:.1e}, at most 1e-5")
    assert error < 1e-5


@pytest.mark.check("rows of a micro-batch keep apart, to the last bit")
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", quick_cases(["float32", "bfloat16", "float16"], "bfloat16"))
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_batch_invariance(device: torch.device, tiny_base: Base, quantization: str, dtype: str, attention: str) -> None:
    settings = {"quantization": quantization, "compute_dtype": dtype, "attention": attention}
    model, recipe = loaded(tiny_base(), model=settings, data={"max_tokens": 100}, lora={"aggregation": "alternating"})
    assert model.device.type == device.type
    require_batch_invariant(model, recipe)


@pytest.mark.slow
@pytest.mark.check("one record more moves the sum by at most the clipping norm, to the last bit")
@pytest.mark.parametrize(
    "privacy", [{}, {"clipping": "per_layer"}, {"target_quantile": 0.5}], ids=["flat", "per layer", "adaptive"]
)
def test_neighbours(device: torch.device, tiny_base: Base, found: Found, privacy: dict[str, Any]) -> None:
    model, recipe = loaded(tiny_base(), model=NF4, privacy=privacy)
    examples = some_examples(9)
    whole = total_of(model, recipe, Population.of(examples))
    largest = 0
    for out in range(len(examples)):
        without = total_of(model, recipe, Population.of(examples[:out] + examples[out + 1 :]))
        moved = sum(int(value) ** 2 for value in (whole - without).tolist())
        assert moved > 0
        largest = max(largest, moved)
    found(f"at most {math.sqrt(largest) / GRID:.8f} C")
    assert largest <= GRID**2


@pytest.mark.check("sums are those of the CPU")
def test_same_as_cpu(device: torch.device, tiny_base: Base, found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    from sealora_client.model import base

    model, recipe = loaded(tiny_base(), model={"quantization": "nf4"})
    there = total_of(model, recipe, Population.of(some_examples(10)))
    monkeypatch.setattr(base, "training_device", lambda: torch.device("cpu"))
    model, recipe = loaded(tiny_base(), model={"quantization": "nf4"})
    here = total_of(model, recipe, Population.of(some_examples(10)))
    error = relative_error(there.cpu(), here)
    found(f"relative difference {error:.1e}, at most 1e-4")
    assert error < 1e-4


@pytest.mark.check("linear layers are loaded in NF4, doubly quantised, on the device")
def test_nf4_load(device: torch.device, tiny_base: Base, found: Found) -> None:
    model, _ = loaded(tiny_base(), model=NF4)
    weights = load_file(tiny_base() / "model.safetensors")
    worst, layers = 0.0, 0
    for name, module in model.model.named_modules():
        if not isinstance(module, Linear4bit):
            continue
        layers += 1
        state = module.weight.quant_state
        assert (module.weight.device.type, state.quant_type, state.nested) == (device.type, "nf4", True)
        held = dequantize_4bit(module.weight.data, state).float().cpu()
        key = name.removeprefix("base_model.model.").removesuffix(".base_layer") + ".weight"
        worst = max(worst, float((held - weights[key]).norm() / weights[key].norm()))
    found(f"{layers} layers, weights off by at most {worst:.1%}")
    assert layers == 2 * 7
    assert worst < 0.12  # NF4 of normal weights is off by 9 to 10 %


@pytest.mark.check("an evaluation between steps does not change gradients")
def test_evaluation_between(device: torch.device, tiny_base: Base) -> None:
    model, recipe = loaded(tiny_base(), model=NF4)
    assert model.device.type == device.type
    population = Population.of(some_examples(10))
    before = total_of(model, recipe, population)
    heldout_loss(model, CausalLanguageModelling(), population, 4)
    assert torch.equal(total_of(model, recipe, population), before)


def train(model: AdaptedModel, recipe: Recipe, seed: str = "round") -> Any:
    plan = plan_for(recipe)
    write_random_adapter(model)
    return train_round(
        model,
        Population.of(some_examples(8)),
        plan=plan,
        recipe=recipe,
        round_number=1,
        leave=Rehearsal(plan.event),
        entropy=SeededEntropy(seed),
    )


@pytest.mark.check("the noise that is drawn is the noise that is added, where the sum is")
def test_noise(device: torch.device, tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    training = {"optimizer": "sgd", "learning_rate": 1.0, "steps_per_round": 1, "sample_rate": 0.5}
    model, recipe = loaded(tiny_base(), training=training)
    drawn: list[Any] = []

    def kept(*given: Any) -> Any:
        drawn.append(rounded_gaussian(*given))
        return drawn[-1]

    monkeypatch.setattr("sealora_client.training.dp_sgd.rounded_gaussian", kept)
    monkeypatch.setattr(clipped_sum, "poisson_batch", lambda *_: np.array([], dtype=np.int64))
    seen: set[str] = set()
    real = torch.optim.SGD.step

    def stepped(self: Any, *given: Any) -> Any:
        seen.update(each.grad.device.type for group in self.param_groups for each in group["params"])
        return real(self, *given)

    monkeypatch.setattr(torch.optim.SGD, "step", stepped)
    values = train(model, recipe).values
    assert seen == {device.type}
    (noise,) = drawn
    expected = -(noise.astype(np.float64) * (1.0 / GRID) / (0.5 * 8)).astype(np.float32)
    # What is told is a difference of float32 adapters.
    assert np.allclose(values, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.check("a seeded round is the same twice, and leaves torch's generators alone")
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_seeded(device: torch.device, tiny_base: Base, dropout: float) -> None:
    model, recipe = loaded(tiny_base(), lora={"rank": 4, "dropout": dropout}, model={"attention": "eager"})
    state = _generators(device)
    first = train(model, recipe).values
    assert all(torch.equal(a, b) for a, b in zip(_generators(device), state, strict=True))
    assert np.array_equal(train(model, recipe).values, first)
    assert not np.array_equal(train(model, recipe, "other").values, first)


def _generators(device: torch.device) -> list[torch.Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


@pytest.mark.check("the 8-bit optimiser steps as the one it approximates")
def test_eight_bit(device: torch.device, tiny_base: Base, found: Found) -> None:
    deltas = []
    for optimizer in ("adamw", "paged_adamw_8bit"):
        model, recipe = loaded(tiny_base(), training={"optimizer": optimizer, "sample_rate": 1.0})
        assert model.device.type == device.type
        deltas.append(train(model, recipe).values.astype(np.float64))
    cosine = float(deltas[0] @ deltas[1] / np.linalg.norm(deltas[0]) / np.linalg.norm(deltas[1]))
    found(f"cosine of the rounds' changes {cosine:.4f}, at least 0.9")
    assert cosine > 0.9


@pytest.mark.slow
@pytest.mark.check("a step waits for the device once")
@pytest.mark.parametrize(
    "model_of", [{}, NF4, {**NF4, "gradient_checkpointing": True}], ids=["float32", "nf4", "nf4, checkpointing"]
)
def test_one_wait(device: torch.device, tiny_base: Base, found: Found, model_of: dict[str, Any]) -> None:
    model, recipe = loaded(tiny_base(), model=model_of)
    with sums_of(model, recipe, Population.of(some_examples(12))) as sums:
        sums.draw()  # what is set up once
        waited = _waits_on_cuda(sums) if device.type == "cuda" else _waits(sums)
    found(f"waits: {len(waited)}, in a step of three micro-batches")
    assert len(waited) == 1, waited


def _waits(sums: ClippedSum) -> list[str]:
    with waits(but_in=("collate",)) as seen:
        sums.draw()
    return seen


def _waits_on_cuda(sums: ClippedSum) -> list[str]:
    """As CUDA's own calls say."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            sums.draw()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [f"{each.filename}:{each.lineno}" for each in said if "synchroniz" in str(each.message)]
