"""Prompt tuning (Lester, Al-Rfou & Constant 2021, arXiv:2104.08691): virtual tokens before every text.

>>> PromptTuning(PromptTuningSection()).tensor_names("")
('prompt_embeddings',)
"""

from __future__ import annotations

from dataclasses import dataclass

from sealora_common.adapter.kind import AdapterKind, PeftConfiguration
from sealora_common.adapter.kinds.drawn import uniform
from sealora_common.adapter.layout import AdapterLayout, Tensors
from sealora_common.recipe.sections.adapters.prompt_tuning import PromptTuningSection
from sealora_common.recipe.sections.model import ModelSection

_EMBEDDINGS = "prompt_embeddings"


class PromptTuningConfiguration(PeftConfiguration):
    """PEFT's `PromptTuningConfig`, as far as a recipe says it."""

    num_virtual_tokens: int
    token_dim: int
    num_transformer_submodules: int = 1
    prompt_tuning_init: str = "RANDOM"
    inference_mode: bool = True


@dataclass(frozen=True)
class PromptTuning(AdapterKind):
    """The recipe's section `prompt_tuning`. The embeddings have shape (virtual tokens, features)."""

    section: PromptTuningSection

    def tensor_names(self, module: str) -> tuple[str, ...]:
        """The embeddings, which belong to no module of the base model."""
        return (_EMBEDDINGS,)

    def initial(self, layout: AdapterLayout) -> Tensors:
        """Uniform in the section's range, by its public seed."""
        section = self.section
        return {spec.name: uniform(spec, section.initial_range, section.seed, 0) for spec in layout.tensors}

    def shared(self, layout: AdapterLayout) -> AdapterLayout:
        """All of it."""
        return layout

    def trained(self, layout: AdapterLayout, round_number: int) -> AdapterLayout:
        """All of it, in every round."""
        return layout

    def peft_configuration(self, model: ModelSection, layout: AdapterLayout) -> PromptTuningConfiguration:
        """PEFT's own."""
        (embeddings,) = layout.tensors
        return PromptTuningConfiguration(
            peft_type="PROMPT_TUNING",
            task_type="CAUSAL_LM",
            base_model_name_or_path=model.base,
            revision=model.revision,
            num_virtual_tokens=embeddings.shape[0],
            token_dim=embeddings.shape[1],
        )
