"""What the site must know of a kind of adapter besides what it has agreed on with the others."""

from __future__ import annotations

from typing import Protocol

from peft import PeftModel
from transformers import PreTrainedModel

from sealora_client.model.adapters.rules.trained_tensor import TrainedTensor


class Attachment(Protocol):
    """Puts one kind of adapter on base models, and finds its tensors there."""

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """The base model with an adapter on it, whose values do not matter yet.

        Raises:
            ModelError: the base model takes no such adapter.
        """

    def tensors(self, model: PeftModel) -> dict[str, TrainedTensor]:
        """All of the adapter's, by their names (`AdapterKind.tensor_names`), each with its gradient's rule."""
