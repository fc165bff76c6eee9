"""Whole rounds of a federation on a device, sealed, through the simulation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sealora_client.model import adapted

from tiny_federation import PRIVATE, adapter_of, events_of, run_inline, write_federation

Base = Callable[..., Path]
MECHANISMS: dict[str, dict[str, Any]] = {
    "local": {"privacy": PRIVATE},
    "distributed": {
        "privacy": {"mechanism": "distributed", "epsilon": 8.0, "delta": 1e-3},
        "server": {"optimizer": "fedadam"},
        "sealing": {"ring_bits": 32},
    },
}


@pytest.mark.slow
@pytest.mark.check("one sealed round of three sites through the simulation")
@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_one_round(device: torch.device, tiny_base: Base, tmp_path: Path, mechanism: str, quantization: str) -> None:
    model = {"quantization": quantization, "compute_dtype": "bfloat16" if quantization == "nf4" else "float32"}
    recipe = write_federation(tmp_path, tiny_base(), rounds=1, model=model, **MECHANISMS[mechanism])
    run = run_inline(recipe, tmp_path / "run")
    (used,) = adapted._loaded.values()
    assert used.device.type == device.type
    assert {parameter.device.type for parameter in used.model.parameters()} == {device.type}
    assert [event.round for event in events_of(run, "round_finished")] == [1]
    final = adapter_of(run)
    assert all(np.isfinite(value).all() for value in final.values())
    assert any(value.any() for name, value in final.items() if ".lora_B." in name)
