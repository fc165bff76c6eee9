"""An adapter's tensors, named and in a fixed order, and one flat vector of them, whatever kind of adapter it is.

Names are PEFT's own (`base_model.model.<module>.lora_A.weight`), so a published adapter loads with plain PEFT.
The server holds and writes adapters with NumPy alone.

>>> layout = AdapterLayout((TensorSpec("m.lora_A.weight", (2, 8)), TensorSpec("m.lora_B.weight", (4, 2))))
>>> layout.size
24
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sealora_common.canonical import canonical_json, digest
from sealora_common.errors import ModelError

Tensors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of an adapter: its PEFT name and its shape."""

    name: str
    shape: tuple[int, ...]

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

    def to_json(self) -> list[tuple[str, list[int]]]:
        """A JSON form: [[name, [shape...]], ...]."""
        return [(tensor.name, list(tensor.shape)) for tensor in self.tensors]

    @classmethod
    def from_json(cls, value: Sequence[tuple[str, Sequence[int]]]) -> AdapterLayout:
        """The inverse of `to_json`."""
        return cls(tuple(TensorSpec(name, tuple(shape)) for name, shape in value))
