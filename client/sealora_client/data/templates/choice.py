"""Which template stands around texts for a tokenizer: the one place that tells."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from sealora_client.data.templates.chat import ChatTemplate
from sealora_client.data.templates.document import Document
from sealora_client.data.templates.plain import PlainTemplate
from sealora_client.data.templates.template import Template
from sealora_common.recipe.sections.data import DataSection


def template_of(tokenizer: PreTrainedTokenizerBase, section: DataSection) -> Template:
    """The tokenizer's own chat template if it has one, else the plain form; none for texts that stand by themselves.

    Args:
        tokenizer: the base model's.
        section: of the recipe: the records' layout, and what the template is given besides them.
    """
    if section.layout == "text":
        return Document(tokenizer)
    if tokenizer.chat_template is not None:
        return ChatTemplate(tokenizer, section.system_prompt, section.template_date)
    return PlainTemplate(tokenizer, section.system_prompt)
