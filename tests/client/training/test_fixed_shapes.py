"""Examples never meet inside a batch: a unit adds the same integers to the sum whatever else was drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from quick_cases import quick_cases
from sealora_client.data.population import Population
from sealora_client.model import fixed_shape, loss
from sealora_client.model.adapted import AdaptedModel
from sealora_client.objective import objective
from sealora_client.training import clipped_sum
from sealora_client.training.clipped_sum import ClippedSum
from sealora_client.training.gradients.per_example import PerExampleGradients
from sealora_common.entropy import SeededEntropy

from lora_kinds import lora
from single_examples import load, plan_for, random_examples, recipe_for
from tiny_models import KINDS

Base = Callable[..., Path]
UNITS = 1 << 26  # the finest grid, so that truncation hides as little as it can

# Of several padded lengths, at their edges, with responses of one token and of nearly all.
LENGTHS = [(5, 9), (12, 3), (3, 17), (46, 1), (45, 2), (47, 1), (1, 46), (30, 20), (33, 22), (60, 3), (20, 50), (2, 6)]
PERSONS = ["a", "b", "a", "c", "a", "d", "c", "c", "a", "e", "d", "f"]
DTYPES = [("none", "float32"), ("none", "bfloat16"), ("none", "float16"), ("nf4", "bfloat16")]


class Draws:
    """Sums of chosen samples of one population."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: AdaptedModel, by_person: bool, **privacy: Any) -> None:
        examples = random_examples(LENGTHS)
        self.population = Population.of(examples, PERSONS if by_person else None)
        person = {"data": {"person_field": "person"}} if by_person else {}
        self.recipe = recipe_for(Path("unused"), privacy=privacy, **person)
        self.model = model
        self.monkeypatch = monkeypatch

    def sum_of(self, sample: Sequence[int]) -> Tensor:
        self.monkeypatch.setattr(clipped_sum, "poisson_batch", lambda *_: np.array(sample, dtype=np.int64))
        layout = lora("average").trained(self.model.layout, 1)
        entropy = SeededEntropy("s")
        sums = ClippedSum(
            self.model,
            layout,
            self.population,
            plan=plan_for(self.recipe, grid_steps=UNITS),
            recipe=self.recipe,
            clip_norm=1.0,
            entropy=entropy,
        )
        with sums:
            return sums.draw()

    def differing(self, samples: int = 3) -> int:
        """How many of some random samples, in random order, do not sum to what their units sum to one by one."""
        single = [self.sum_of([place]) for place in range(len(self.population))]
        assert all(total.any() for total in single)
        generator = np.random.default_rng(0)
        wrong = 0
        for _ in range(samples):
            sample = generator.permutation(len(single))[: generator.integers(2, len(single) + 1)].tolist()
            wrong += not torch.equal(self.sum_of(sample), torch.stack([single[place] for place in sample]).sum(dim=0))
        return wrong


@pytest.mark.parametrize("by_person", [False, True], ids=["records", "persons"])
@pytest.mark.parametrize("attention", quick_cases(["eager", "sdpa"], "sdpa"))
@pytest.mark.parametrize(("quantization", "dtype"), DTYPES)
@pytest.mark.parametrize("kind", quick_cases(KINDS, "llama"))
def test_a_sum_is_that_of_its_units_one_by_one_to_the_last_bit(
    tiny_base: Base,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    quantization: str,
    dtype: str,
    attention: str,
    by_person: bool,
) -> None:
    settings = {"quantization": quantization, "compute_dtype": dtype, "attention": attention}
    assert Draws(monkeypatch, load(tiny_base(kind), model=settings), by_person).differing() == 0


@pytest.mark.parametrize("privacy", [{"clipping": "per_layer"}, {"target_quantile": 0.5}], ids=["per layer", "votes"])
@pytest.mark.parametrize("checkpointing", quick_cases([False, True], True))
@pytest.mark.parametrize(("quantization", "dtype"), quick_cases(DTYPES, DTYPES[0]))
def test_so_it_is_under_checkpointing_and_every_way_of_clipping(
    tiny_base: Base,
    monkeypatch: pytest.MonkeyPatch,
    quantization: str,
    dtype: str,
    checkpointing: bool,
    privacy: dict[str, Any],
) -> None:
    settings = {"quantization": quantization, "compute_dtype": dtype, "gradient_checkpointing": checkpointing}
    model = load(tiny_base("llama"), model=settings)
    assert Draws(monkeypatch, model, True, records_per_person=10, **privacy).differing() == 0


@pytest.mark.slow
@pytest.mark.parametrize(("quantization", "dtype"), DTYPES)
def test_so_it_is_on_two_threads(
    tiny_base: Base, monkeypatch: pytest.MonkeyPatch, quantization: str, dtype: str
) -> None:
    model = load(tiny_base("llama"), model={"quantization": quantization, "compute_dtype": dtype})
    torch.set_num_threads(2)  # `_one_thread` puts it back
    assert Draws(monkeypatch, model, True).differing(samples=2) == 0


def test_shapes_that_follow_the_sample_would_be_found(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """With as many rows and tokens as the sample has, one record moves the others'."""

    def collate(examples: Sequence[Any], pad_id: int, device: Any, rows: int, _length: None) -> loss.Batch:
        return loss.collate(examples, pad_id, device, rows, max(len(example.tokens) for example in examples) + 1)

    monkeypatch.setattr(objective, "collate", collate)
    monkeypatch.setattr(fixed_shape, "padded_length", lambda _: 1)
    model = load(tiny_base("llama"), model={"quantization": "nf4", "compute_dtype": "bfloat16"})
    assert Draws(monkeypatch, model, False).differing() > 0


def test_every_micro_batch_and_every_call_of_the_output_layer_has_a_shape_known_beforehand(
    tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(tiny_base("llama"))
    seen: set[tuple[int, ...]] = set()
    head = model.model.get_output_embeddings()
    forward = head.forward
    monkeypatch.setattr(head, "forward", lambda states: seen.add(tuple(states.shape)) or forward(states))
    model.model.get_input_embeddings().register_forward_hook(lambda _, inputs, output: seen.add(tuple(inputs[0].shape)))
    started: set[int] = set()  # rows that norms and sums are taken over
    start = PerExampleGradients.start
    monkeypatch.setattr(PerExampleGradients, "start", lambda self, rows: started.add(rows) or start(self, rows))
    draws = Draws(monkeypatch, model, True)
    for sample in ([], [0], [1, 2, 3], list(range(len(draws.population)))):
        draws.sum_of(sample)
    assert started == {4}
    assert seen == {(4, 48), (4, 64), (4, 96), (1, loss.POSITIONS, 64)}
