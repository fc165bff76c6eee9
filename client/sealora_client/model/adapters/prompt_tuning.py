"""Virtual tokens before every text, by PEFT's prompt tuning."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from sealora_client.model.adapters.adapt import ADAPTER, adapt
from sealora_client.model.adapters.attachment import Attachment
from sealora_client.model.adapters.rules.prompt import PromptVectors
from sealora_client.model.adapters.rules.trained_tensor import TrainedTensor
from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.adapter.kinds.prompt_tuning import PromptTuning
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.adapters.prompt_tuning import PromptTuningSection
from sealora_common.recipe.sections.model import ModelSection


@dataclass(frozen=True)
class PromptTuningAttachment(Attachment):
    """The recipe's section `prompt_tuning`, on the model of its section `model`."""

    prompt_tuning: PromptTuningSection
    model: ModelSection

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """Before the base model's embeddings, configured as the run publishes it.

        Raises:
            ModelError: the base model has no embeddings that tokens could stand beside.
        """
        words = base.get_input_embeddings()
        if not isinstance(words, nn.Embedding):
            raise ModelError("prompt_tuning: the base model has no plain embedding of tokens: choose another adapter")
        kind, shape = PromptTuning(self.prompt_tuning), (self.prompt_tuning.virtual_tokens, words.embedding_dim)
        layout = AdapterLayout(tuple(TensorSpec(name, shape) for name in kind.tensor_names("")))
        model = adapt(base, kind.peft_configuration(self.model, layout), "prompt_tuning")
        if model.word_embeddings is not words:
            raise ModelError(
                "prompt_tuning: PEFT takes another part of the base model for its embedding of tokens: "
                "choose another adapter"
            )
        if "position_ids" in inspect.signature(base.forward).parameters:
            base.register_forward_pre_hook(_with_positions, with_kwargs=True)
            # PEFT leaves out those that a completion comes with, and says so each time: they are given here.
            warnings.filterwarnings("ignore", message="Position ids are not supported for parameter efficient tuning")
        model.__dict__["forward"] = _Prompted(model).forward
        return model

    def tensors(self, model: PeftModel) -> dict[str, TrainedTensor]:
        """The embeddings of the virtual tokens."""
        (name,) = PromptTuning(self.prompt_tuning).tensor_names("")
        return {name: PromptVectors(model.prompt_encoder[ADAPTER])}


class _Prompted:
    """A forward pass in which virtual tokens come before the padding."""

    def __init__(self, model: PeftModel) -> None:
        self._model = model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        **options: Any,
    ) -> Any:
        """What the base model gives for virtual tokens and `input_ids`, shape (B, T); of both, (B, virtual + T).

        Positions follow from the mask, (B, T), not from `position_ids`; without a mask nothing is padding.
        """
        # PEFT's own `get_prompt` asks for the vectors once and repeats them, so that all examples would share one use.
        tokens = self._model.prompt_tokens[ADAPTER].to(input_ids.device)
        prompts = self._model.prompt_encoder[ADAPTER](tokens.expand(len(input_ids), -1))
        words = self._model.word_embeddings(input_ids)
        own = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        mask = torch.cat((own.new_ones(len(own), prompts.shape[1]), own), dim=1)
        embeddings = torch.cat((prompts.to(words.dtype), words), dim=1)
        return self._model.base_model(inputs_embeds=embeddings, attention_mask=mask, **options)


def _with_positions(base: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The base model's arguments, with positions that count what is no padding, if it is given a mask and none.

    PEFT gives none, and the model by itself counts padding, so that a row would depend on how far it is padded. Of a
    row without padding both say the same.
    """
    mask, given = options.get("attention_mask"), options.get("inputs_embeds")
    given = options.get("input_ids") if given is None else given
    if options.get("position_ids") is None and given is not None and mask is not None and mask.dim() == 2:
        options["position_ids"] = (mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, -given.shape[1] :]
    return arguments, options
