"""What every record has in common: it is immutable, takes no value for another kind's, and passes over newer fields."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, FiniteFloat


class WrittenRecord(BaseModel):
    """Base of what is written by one side and read by another."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, use_attribute_docstrings=True)


def finite(value: float | None) -> float | None:
    """`value`, or None for a NaN or infinity, which JSON cannot write."""
    return None if value is None or not math.isfinite(value) else value


def _finite_if_float(value: object) -> object:
    return finite(value) if isinstance(value, float) else value


FiniteOrNone = Annotated[FiniteFloat | None, BeforeValidator(_finite_if_float)]
"""A figure that may be missing. A NaN or infinity, which earlier versions wrote, is a figure that is missing."""
