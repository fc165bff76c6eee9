"""Which template stands around texts for a tokenizer: the one place that tells."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from sealora_client.data.templates.chat import ChatTemplate
from sealora_client.data.templates.plain import PlainTemplate
from sealora_client.data.templates.template import Template


def template_of(tokenizer: PreTrainedTokenizerBase, system_prompt: str | None) -> Template:
    """The tokenizer's own chat template if it has one, else the plain form; with this system prompt if not None."""
    if tokenizer.chat_template is not None:
        return ChatTemplate(tokenizer, system_prompt)
    return PlainTemplate(tokenizer, system_prompt)
