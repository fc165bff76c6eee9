"""How long a private step takes, and in how much memory: figures for the table, of which none is a promise."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from bitsandbytes.nn import Linear4bit

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.ledger import Rehearsal
from sealora_client.model.device import forget_peak, free_gpu_memory, peak_memory, wait_for
from sealora_client.training.dp_sgd import train_round
from sealora_common.entropy import SystemEntropy
from sealora_common.recipe import Recipe

from shaped_models import SHAPES, shaped_model
from single_examples import plan_for, recipe_for

Found = Callable[[str], None]
STEPS = 2
CASES: dict[str, tuple[str, int, int, int, str]] = {
    # shape, rows of a micro-batch, tokens of a record, records a step, aggregation
    "tiny, A and B": ("tiny", 4, 40, 8, "average"),
    "SmolLM2-135M, B": ("SmolLM2-135M", 16, 130, 64, "ffa"),
    "SmolLM2-135M, A and B": ("SmolLM2-135M", 16, 130, 64, "average"),
    "Llama-3.1-8B, B": ("Llama-3.1-8B", 4, 1000, 8, "ffa"),
    "Llama-3.1-8B, A and B": ("Llama-3.1-8B", 4, 1000, 8, "average"),
}
ON = [
    pytest.param("cpu" if shape == "tiny" else "cuda", name, marks=() if shape == "tiny" else pytest.mark.gpu)
    for name, (shape, *_) in CASES.items()
]
NEEDED = {"Llama-3.1-8B": 20}
"""GiB free on the GPU: 6 of weights, with the output layer and the embeddings in 16 bits, then buffers, activations."""


def recipe_of(case: str) -> tuple[Recipe, str, Population]:
    shape, rows, tokens, records, aggregation = CASES[case]
    generator = np.random.default_rng(0)
    vocabulary = SHAPES[shape]["vocab_size"]
    examples = [
        Example(generator.integers(3, vocabulary, tokens).astype(np.int32), tokens // 2) for _ in range(records)
    ]
    recipe = recipe_for(
        Path("unused"),
        model={"quantization": "nf4", "compute_dtype": "bfloat16", "gradient_checkpointing": shape == "Llama-3.1-8B"},
        lora={"rank": 16 if shape == "Llama-3.1-8B" else 8, "aggregation": aggregation},
        data={"max_tokens": tokens},
        training={"micro_batch_size": rows, "steps_per_round": STEPS, "sample_rate": 1.0},
    )
    return recipe, shape, Population.of(examples)


@pytest.fixture
def room(case: str, device: torch.device) -> Iterator[None]:
    """Skips a model that does not fit, and gives back what was used."""
    needed = NEEDED.get(CASES[case][0], 0)
    if (free := free_gpu_memory()) is not None and free < needed << 30:
        pytest.skip(f"a model of this shape needs {needed} GiB of GPU memory free: {free >> 30} are")
    yield
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


@pytest.mark.check("time and memory of a step")
@pytest.mark.usefixtures("room")
@pytest.mark.parametrize(("device", "case"), ON, indirect=["device"])
def test_a_step(device: torch.device, case: str, found: Found) -> None:
    recipe, shape, population = recipe_of(case)
    started = time.perf_counter()
    model = shaped_model(shape, recipe, device)
    wait_for(device)
    made = time.perf_counter() - started
    assert sum(isinstance(module, Linear4bit) for module in model.model.modules()) == (
        7 * SHAPES[shape]["num_hidden_layers"]
    )
    times = []
    plan = plan_for(recipe)
    for _ in range(2):  # the first one sets up what lasts
        forget_peak(device)
        wait_for(device)
        started = time.perf_counter()
        trained = train_round(
            model,
            population,
            plan=plan,
            recipe=recipe,
            round_number=1,
            leave=Rehearsal(plan.event),
            entropy=SystemEntropy(),
        )
        wait_for(device)
        times.append((time.perf_counter() - started) / STEPS)
    assert trained.moved
    assert np.isfinite(trained.values).all()
    assert trained.figures.non_finite == 0
    tokens = sum(example.length for unit in population.units for example in unit)
    found(
        f"{times[-1]:.3f} s a step of {len(population)} records, {tokens / times[-1]:.0f} tokens/s, "
        f"{trained.values.size:,} trained weights, peak {peak_memory(device) / 1e9:.2f} GB, made in {made:.1f} s"
    )
