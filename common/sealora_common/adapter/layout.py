"""An adapter's tensors, named and in a fixed order, and one flat vector of them, whatever kind of adapter it is.

Names are PEFT's own (`base_model.model.<module>.lora_A.weight`), so a published adapter loads with plain PEFT.
The server holds and writes adapters with NumPy alone.

>>> layout = AdapterLayout((TensorSpec("m.lora_A.weight", (2, 8)), TensorSpec("m.lora_B.weight", (4, 2))))
>>> layout.size
24
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sealora_common.canonical import canonical_json, digest
from sealora_common.errors import ModelError

Tensors = dict[str, NDArray[np.float32]]


LayoutJson = Sequence[tuple[str, Sequence[int]] | tuple[str, Sequence[int], str]]
"""[[name, [shape...]], ...], and a third element, base64, where a tensor begins with the base model's values."""


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of an adapter.

    Attributes:
        name: PEFT's.
        shape: one or two dimensions.
        base_values: what it begins with where that is the base model's, which the server does not have: float32,
            little-endian, row by row. None where a kind knows the initial values by itself. Sites that say others
            have another layout.
    """

    name: str
    shape: tuple[int, ...]
    base_values: bytes | None = None

    def __post_init__(self) -> None:
        if self.base_values is not None and len(self.base_values) != 4 * self.size:
            raise ModelError(f"adapter tensor {self.name} of shape {self.shape} has {len(self.base_values)} bytes")

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class AdapterLayout:
    """The tensors of an adapter, in the order in which they stand in the flat vector."""

    tensors: tuple[TensorSpec, ...]

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[np.generic]]) -> AdapterLayout:
        """That of named tensors, in their order."""
        return cls(tuple(TensorSpec(name, tuple(value.shape)) for name, value in tensors.items()))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(tensor.name for tensor in self.tensors)

    @property
    def size(self) -> int:
        """Number of elements of the flat vector."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical form: equal layouts, equal digests."""
        return digest(canonical_json(self.to_json()))

    def flatten(self, tensors: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float32]:
        """Concatenates `tensors` in layout order into one float32 vector of shape (size,).

        Raises:
            ModelError: a tensor is missing or has another shape.
        """
        parts = []
        for spec in self.tensors:
            value = tensors.get(spec.name)
            if value is None or tuple(value.shape) != spec.shape:
                found = "missing" if value is None else f"of shape {tuple(value.shape)}"
                raise ModelError(
                    f"adapter tensor {spec.name} is {found} where the recipe's model needs {spec.shape}: "
                    "train and load with the same base model and the same kind of adapter"
                )
            parts.append(np.asarray(value, dtype=np.float32).reshape(-1))
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)

    def unflatten(self, vector: NDArray[np.generic]) -> Tensors:
        """The inverse of `flatten`: a flat vector of shape (size,) as named float32 tensors (copies).

        Raises:
            ModelError: the vector has another length.
        """
        if vector.shape != (self.size,):
            raise ModelError(f"adapter vector has shape {vector.shape} where the layout needs ({self.size},)")
        tensors: Tensors = {}
        start = 0
        for spec in self.tensors:
            piece = vector[start : start + spec.size]
            tensors[spec.name] = np.array(piece, dtype=np.float32).reshape(spec.shape)
            start += spec.size
        return tensors

    def add(self, vector: NDArray[np.float32], part: AdapterLayout, delta: NDArray[np.generic]) -> NDArray[np.float32]:
        """A copy of this layout's flat `vector` with `delta`, laid out as `part`, added to the tensors of `part`."""
        tensors = self.unflatten(vector)
        for name, change in part.unflatten(delta).items():
            tensors[name] += change
        return self.flatten(tensors)

    def to_json(self) -> list[tuple[str, list[int]] | tuple[str, list[int], str]]:
        """A JSON form, see `LayoutJson`."""
        return [_spec_to_json(tensor) for tensor in self.tensors]

    @classmethod
    def from_json(cls, value: LayoutJson) -> AdapterLayout:
        """The inverse of `to_json`.

        Raises:
            ModelError: values of the base model are not as many as the tensor has, or no base64.
        """
        return cls(tuple(map(_spec_from_json, value)))

    def base_values(self) -> Tensors:
        """What the tensors begin with that begin with the base model's values."""
        return {
            spec.name: np.frombuffer(spec.base_values, dtype="<f4").astype(np.float32).reshape(spec.shape)
            for spec in self.tensors
            if spec.base_values is not None
        }


def _spec_to_json(spec: TensorSpec) -> tuple[str, list[int]] | tuple[str, list[int], str]:
    if spec.base_values is None:
        return spec.name, list(spec.shape)
    return spec.name, list(spec.shape), base64.b64encode(spec.base_values).decode()


def _spec_from_json(value: tuple[str, Sequence[int]] | tuple[str, Sequence[int], str]) -> TensorSpec:
    name, shape = value[0], tuple(value[1])
    if len(value) == 2:
        return TensorSpec(name, shape)
    try:
        return TensorSpec(name, shape, base64.b64decode(value[2], validate=True))
    except ValueError:
        raise ModelError(f"adapter tensor {name} has values that are no base64") from None
