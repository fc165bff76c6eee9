"""A federation in memory: records of three sites in the three forms that a notebook has them in, and a tiny recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from tiny_federation import PRIVATE, SECTIONS


def rows_of(site: int, count: int = 28) -> list[dict[str, Any]]:
    """Records of a site: the first four are held out."""
    return [
        {
            "prompt": f"What is {number}?",
            "response": f"{number} times {site + 2} is {number * (site + 2)}.",
            "split": "heldout" if number < 4 else "train",
        }
        for number in range(count)
    ]


@pytest.fixture(scope="session")
def rows() -> Callable[..., list[dict[str, Any]]]:
    """`rows(site, count=28)`."""
    return rows_of


@pytest.fixture(scope="session")
def records() -> dict[str, Any]:
    """A DataFrame, a Dataset and a list of dicts."""
    frame = pd.DataFrame(rows_of(0), index=[f"row {number}" for number in range(28)])
    return {"north": frame, "south": datasets.Dataset.from_list(rows_of(1)), "west": rows_of(2)}


@pytest.fixture
def sections(tiny_base: Callable[..., Path]) -> dict[str, Any]:
    """A recipe as a mapping: as quick as can be, and private."""
    model = {**SECTIONS["model"], "base": tiny_base()}
    return {"name": "tiny", "rounds": 2, **SECTIONS, "model": model, "privacy": PRIVATE}
