"""Sealora for researchers: federations simulated, compared and planned from Python, a notebook above all.

A face of what the other packages do, and nothing else: what it can, `sealora` at a terminal can too. `__all__` is what
semantic versioning covers (docs/python.md); each name is loaded when it is first asked for, so that importing this
costs nothing.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Final

from sealora_common import __version__
from sealora_common.errors import SealoraError
from sealora_common.library_settings import unset_settings

os.environ.update(unset_settings())  # before any library is imported that reads them

if TYPE_CHECKING:
    from sealora.compared import ArmComparison, compare
    from sealora.planned import RunPlan, plan
    from sealora.recipes import load_recipe
    from sealora.runs import Run, read_run
    from sealora.simulated import simulate
    from sealora.trained import TrainedModel, load_adapter
    from sealora_common.recipe import Recipe

__all__ = [
    "ArmComparison",
    "Recipe",
    "Run",
    "RunPlan",
    "SealoraError",
    "TrainedModel",
    "__version__",
    "compare",
    "load_adapter",
    "load_recipe",
    "plan",
    "read_run",
    "simulate",
]

_HOMES: Final = {
    "ArmComparison": "sealora.compared",
    "Recipe": "sealora_common.recipe",
    "Run": "sealora.runs",
    "RunPlan": "sealora.planned",
    "TrainedModel": "sealora.trained",
    "compare": "sealora.compared",
    "load_adapter": "sealora.trained",
    "load_recipe": "sealora.recipes",
    "plan": "sealora.planned",
    "read_run": "sealora.runs",
    "simulate": "sealora.simulated",
}


def __getattr__(name: str) -> object:
    """The name, loaded now (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
