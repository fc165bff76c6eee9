"""What the sections of a recipe have in common, and ranges that several of them use."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LayerNumbers = Annotated[tuple[Annotated[int, Field(ge=0, lt=10_000)], ...], Field(min_length=1)]
"""Of transformer layers, from 0."""


class Section(BaseModel):
    """Base of all sections: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=True)


def require_one_choice_of_layers(last_layers: int | None, layers: tuple[int, ...] | None) -> None:
    """Refuses a section that chooses layers twice, or one of them twice.

    Raises:
        ValueError: it does.
    """
    if last_layers is not None and layers is not None:
        raise ValueError("last_layers and layers both choose layers: leave one of them out")
    if layers is not None and len(set(layers)) < len(layers):
        raise ValueError("layers names a layer twice: name each once")
