"""What the site must know of a kind of adapter besides what it has agreed on with the others."""

from __future__ import annotations

from typing import Protocol

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel


class Attachment(Protocol):
    """Puts one kind of adapter on base models, and finds its tensors there."""

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """The base model with an adapter on it, whose values do not matter yet.

        Raises:
            ModelError: the base model takes no such adapter.
        """

    def linears(self, model: PeftModel) -> dict[str, nn.Linear]:
        """The maps whose weights are the adapter's tensors, by the tensors' names (`AdapterKind.tensor_names`).

        Gradients by example are collected where these maps run, see `training.gradients.linear_by_example`.
        """
