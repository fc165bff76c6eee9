"""Embeddings of virtual tokens: each example has them to itself, so its gradient is what arrives at its own rows."""

from __future__ import annotations

from torch import Tensor, nn

from sealora_client.model.adapters.rules.observed import ObservedTensor


class PromptVectors(ObservedTensor):
    """Shape (virtual tokens, features).

    Args:
        encoder: PEFT's, which gives every example of a micro-batch the same vectors, each once and in order.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__(encoder, "embedding.weight", "the recipe")

    @property
    def kept_shape(self) -> tuple[int, int]:
        """As they stand."""
        tokens, features = self.parameter.shape
        return tokens, features

    def gradients(self, inputs: Tensor, grad_output: Tensor, out: Tensor | None = None) -> Tensor:
        """What arrives."""
        return grad_output.float() if out is None else out.copy_(grad_output)
