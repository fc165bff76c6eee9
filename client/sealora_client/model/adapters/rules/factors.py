"""A vector of factors: what activations are multiplied with, element by element."""

from __future__ import annotations

from torch import Tensor

from sealora_client.model.adapters.rules.observed import summed_over_positions
from sealora_client.model.adapters.rules.trained_tensor import TrainedTensor


class Factors(TrainedTensor):
    """The base of tensors with one factor for each feature. The sink is given what is multiplied and dL/dproduct."""

    @property
    def kept_shape(self) -> tuple[int, int]:
        """One row."""
        return 1, self.parameter.numel()

    def gradients(self, inputs: Tensor, grad_output: Tensor, out: Tensor | None = None) -> Tensor:
        """Element by element, then summed."""
        return summed_over_positions(inputs.float() * grad_output.float(), out)

    def ordered(self, rows: Tensor) -> Tensor:
        """The row."""
        return rows.flatten(1)
