"""The recipes that come with data of their own, by the task that their data is built for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealora_client.demo_data.choice import DemoTask

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = {
    DemoTask.CODING: "demo-icd10.yaml",
    DemoTask.DEPARTMENTS: "departments.yaml",
    DemoTask.NEAR_CODES: "near-codes.yaml",
    DemoTask.CONVERSATIONS: "conversations.yaml",
    DemoTask.HANDBOOKS: "handbooks.yaml",
    DemoTask.CURRENCIES: "currencies.yaml",
}


def need_the_package_of(task: DemoTask) -> None:
    """Skips a test where the package that the task's data is made from is not installed."""
    pytest.importorskip("babel" if task is DemoTask.CURRENCIES else "simple_icd_10_cm")
