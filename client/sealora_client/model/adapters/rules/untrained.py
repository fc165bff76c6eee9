"""Tensors of an adapter that no round trains: what PEFT needs beside those that are, or what all parties draw alike."""

from __future__ import annotations

from torch import Tensor, nn

from sealora_client.model.adapters.rules.observed import ObservedTensor


class Untrained(ObservedTensor):
    """A weight that stays as it began."""

    def __init__(self, module: nn.Module, name: str = "weight") -> None:
        super().__init__(module, name, "the recipe")

    def refusal(self) -> str:
        """Always: its kind never trains it."""
        return "stays as the run began"

    def gradients(self, inputs: Tensor, grad_output: Tensor, out: Tensor | None = None) -> Tensor:
        """None to give."""
        raise NotImplementedError(f"{self._name} is not trained")
