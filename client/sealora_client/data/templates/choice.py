"""Which template stands around texts for a tokenizer: the one place that tells."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from sealora_client.data.templates.chat import ChatTemplate
from sealora_client.data.templates.document import Document
from sealora_client.data.templates.plain import PlainTemplate
from sealora_client.data.templates.template import Template
from sealora_common.recipe.sections.data import LayoutName


def template_of(
    tokenizer: PreTrainedTokenizerBase, system_prompt: str | None, layout: LayoutName = "prompt_response"
) -> Template:
    """The tokenizer's own chat template if it has one, else the plain form; none for texts that stand by themselves.

    Args:
        tokenizer: the base model's.
        system_prompt: stands before conversations that bring none; None leaves that to the template.
        layout: of the records.
    """
    if layout == "text":
        return Document(tokenizer)
    if tokenizer.chat_template is not None:
        return ChatTemplate(tokenizer, system_prompt)
    return PlainTemplate(tokenizer, system_prompt)
