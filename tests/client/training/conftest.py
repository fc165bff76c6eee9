"""Fixtures of the tests of private training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sealora_client.model.adapted import AdaptedModel

from dp_sgd_runs import Base
from single_examples import load, write_random_adapter


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny models gain nothing from threads, and sums in float32 depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tiny_base: Base) -> AdaptedModel:
    return load(tiny_base("llama"))


@pytest.fixture
def fresh_adapter(model: AdaptedModel) -> None:
    write_random_adapter(model)


@pytest.fixture(scope="module")
def base(tiny_base: Base) -> Path:
    return tiny_base("llama")
