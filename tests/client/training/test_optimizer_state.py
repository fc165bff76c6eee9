"""The moments that are carried between rounds, on disk and in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sealora_client.training.optimizer import OptimizerState, carry, make_optimizer, restore
from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.errors import StorageError
from sealora_common.recipe.schema import TrainingSection

LAYOUT = AdapterLayout((TensorSpec("a.lora_B.weight", (3, 2)), TensorSpec("b.lora_B.weight", (4, 2))))


def stepped() -> tuple[torch.optim.Optimizer, list[torch.nn.Parameter]]:
    parameters = [torch.nn.Parameter(torch.ones(spec.shape)) for spec in LAYOUT.tensors]
    optimizer = make_optimizer(TrainingSection(), parameters)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape)
    optimizer.step()
    return optimizer, parameters


def test_a_saved_state_is_read_back_equal(tmp_path: Path) -> None:
    state = carry(*stepped(), LAYOUT)
    assert state is not None
    state.save(tmp_path / "state.safetensors")
    loaded = OptimizerState.load(tmp_path / "state.safetensors")
    assert (loaded.layout_digest, loaded.step) == (LAYOUT.digest, 1)
    assert np.array_equal(loaded.first_moment, state.first_moment)
    assert np.array_equal(loaded.second_moment, state.second_moment)
    assert (tmp_path / "state.safetensors").stat().st_mode & 0o077 == 0


def test_a_restored_optimizer_holds_the_same_moments() -> None:
    state = carry(*stepped(), LAYOUT)
    assert state is not None
    parameters = [torch.nn.Parameter(torch.ones(spec.shape)) for spec in LAYOUT.tensors]
    fresh = make_optimizer(TrainingSection(), parameters)
    restore(fresh, parameters, LAYOUT, state)
    again = carry(fresh, parameters, LAYOUT)
    assert again is not None
    assert again.step == state.step
    assert np.array_equal(again.first_moment, state.first_moment)


def test_moments_of_other_tensors_are_not_used(caplog: pytest.LogCaptureFixture) -> None:
    state = carry(*stepped(), LAYOUT)
    assert state is not None
    other = AdapterLayout((TensorSpec("c.lora_B.weight", (3, 2)), TensorSpec("b.lora_B.weight", (4, 2))))
    parameters = [torch.nn.Parameter(torch.ones(spec.shape)) for spec in other.tensors]
    fresh = make_optimizer(TrainingSection(), parameters)
    restore(fresh, parameters, other, state)
    assert not fresh.state
    assert "other tensors" in caplog.text


def test_sgd_carries_nothing() -> None:
    parameters = [torch.nn.Parameter(torch.ones(2))]
    assert carry(make_optimizer(TrainingSection(optimizer="sgd"), parameters), parameters, LAYOUT) is None


@pytest.mark.parametrize("content", [None, b"", b"not safetensors at all"])
def test_a_missing_or_damaged_state_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "state.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StorageError, match=r"cannot read the optimiser state .*state\.safetensors"):
        OptimizerState.load(path)
