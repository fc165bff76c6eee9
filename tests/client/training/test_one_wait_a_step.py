"""A step waits for its device once, at its end: a rule for GPUs, kept on the CPU by watching what is asked of torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sealora_client.data.population import Population
from sealora_client.model import device
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training import clipped_groups
from sealora_client.training.clipped_sum import ClippedSum
from sealora_client.training.gradients.matrix_gradients import MatrixGradients
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SeededEntropy

from device_waits import waits
from single_examples import plan_for, recipe_for, some_examples, write_random_adapter

Base = Callable[..., Path]
ON_CPU = ("collate",)
"""Makes batches on the CPU and sends them."""
ONCE = ["training/clipped_groups.py _read"]


def steps(base: Path, count: int = 1, records: int = 12, **changes: Any) -> list[str]:
    """What some steps would wait for, each of at least three micro-batches if all records are drawn."""
    recipe = recipe_for(base, training={"sample_rate": 1.0, "micro_batch_size": 4}, **changes)
    model = AdaptedModel.load(recipe)
    write_random_adapter(model)
    examples = some_examples(records)
    by_person = recipe.data.person_field is not None
    people = Population.of(examples, [str(i % 5) for i in range(records)] if by_person else None)
    layout = adapter_kind(recipe).trained(model.layout, 1)
    sums = ClippedSum(
        model, layout, people, plan=plan_for(recipe), recipe=recipe, clip_norm=1.0, entropy=SeededEntropy("w")
    )
    with sums, waits(but_in=ON_CPU) as seen:
        for _ in range(count):
            sums.draw()
    assert sums.figures.examples == count * records
    return seen


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lora": {"aggregation": "average"}},
        {"lora": {"dropout": 0.2}},
        {"model": {"gradient_checkpointing": True}},
        {"model": {"quantization": "nf4", "compute_dtype": "bfloat16"}},
        {"model": {"attention": "eager"}},
        {"privacy": {"target_quantile": 0.5}},
        {"privacy": {"clipping": "per_layer"}},
        {"privacy": {"mechanism": "none"}},
        {"data": {"person_field": "person"}},
    ],
    ids=str,
)
def test_a_step_of_several_micro_batches_waits_once(tiny_base: Base, changes: dict[str, Any]) -> None:
    assert steps(tiny_base("llama"), **changes) == ONCE


@pytest.mark.parametrize("kind", ["gpt2", "qwen2", "gemma"])
def test_other_models_wait_once_too(tiny_base: Base, kind: str) -> None:
    assert steps(tiny_base(kind)) == ONCE


@pytest.mark.slow
def test_each_step_waits_once_and_more_micro_batches_do_not_wait_more(tiny_base: Base) -> None:
    assert steps(tiny_base("llama"), 3, records=30) == 3 * ONCE


# The watch sees what it is there to see.


def read_in_each_micro_batch(patch: pytest.MonkeyPatch) -> None:
    sound = MatrixGradients.add_sum_
    patch.setattr(MatrixGradients, "add_sum_", lambda self, total: (float(self.rows.sum()), sound(self, total))[1])


def branched_on_rows(patch: pytest.MonkeyPatch) -> None:
    def clear(self: MatrixGradients, which: torch.Tensor) -> None:
        if which.any():
            self.rows[which] = 0.0

    patch.setattr(MatrixGradients, "clear_", clear)


def sent_and_waited(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(clipped_groups, "to_device", lambda tensor, where: tensor.to(where))


def made_on_the_device(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(clipped_groups, "to_device", lambda tensor, where: torch.tensor([1.0] * len(tensor), device=where))


def masked_rows_looked_up(patch: pytest.MonkeyPatch) -> None:
    from sealora_client.model import loss

    class AsEver:
        def set(self, _: bool) -> None: ...
        def reset(self, _: None) -> None: ...
        def get(self) -> bool:
            return False

    patch.setattr(loss, "_padded", AsEver())


@pytest.mark.parametrize(
    "regression",
    [read_in_each_micro_batch, branched_on_rows, sent_and_waited, made_on_the_device, masked_rows_looked_up],
)
def test_a_regression_is_seen(
    tiny_base: Base, monkeypatch: pytest.MonkeyPatch, regression: Callable[[pytest.MonkeyPatch], None]
) -> None:
    regression(monkeypatch)
    assert len(steps(tiny_base("llama"))) > len(ONCE) + 2  # once a micro-batch at least


def test_what_is_sent_to_a_device_is_not_waited_for() -> None:
    assert device.to_device(torch.ones(2), "meta").device.type == "meta"
    with waits() as seen:
        device.to_device(torch.ones(2), torch.device("cpu"))
    assert seen == []
