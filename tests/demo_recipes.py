"""The recipes that come with data of their own, and the task that it is built for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealora_client.demo_data.choice import DemoTask

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = {
    "triage.yaml": DemoTask.DEPARTMENTS,
    "departments.yaml": DemoTask.DEPARTMENTS,
    "demo-icd10.yaml": DemoTask.CODING,
    "near-codes.yaml": DemoTask.NEAR_CODES,
    "conversations.yaml": DemoTask.CONVERSATIONS,
    "handbooks.yaml": DemoTask.HANDBOOKS,
    "currencies.yaml": DemoTask.CURRENCIES,
    "support.yaml": DemoTask.SUPPORT,
}


def need_the_package_of(task: DemoTask) -> None:
    """Skips a test where the package that the task's data is made from is not installed."""
    if task is not DemoTask.SUPPORT:
        pytest.importorskip("babel" if task is DemoTask.CURRENCIES else "simple_icd_10_cm")
