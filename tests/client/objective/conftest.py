"""Fixtures of the tests of objectives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from sealora_client.model.adapted import AdaptedModel

from single_examples import load


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny models gain nothing from threads, and sums in float32 depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tiny_base: Callable[..., Path]) -> AdaptedModel:
    return load(tiny_base("llama"))


@pytest.fixture(scope="module")
def four_bit(tiny_base: Callable[..., Path]) -> AdaptedModel:
    return load(tiny_base("llama"), model={"quantization": "nf4", "compute_dtype": "bfloat16"})
