"""From text to tokens: records in the conversation format that the base model was taught.

The tokenizer's own chat template is used. One without a template (a base model that was never instruction-tuned)
gets the plain form: prompt, newline, response, end of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from sealora_client.data.example import Example
from sealora_client.data.records import Record
from sealora_common.recipe.schema import DataSection


def to_examples(records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, section: DataSection) -> list[Example]:
    """Tokenises `records`, in order, each to at most `section.max_tokens` tokens.

    The response includes what ends a turn, so that the model learns to stop. An example that is too long loses
    the end of its response, down to half of `max_tokens`; if its prompt leaves less room than that, the prompt
    loses its beginning.
    """
    prompts = prompt_tokens([record.prompt for record in records], tokenizer, section.system_prompt)
    responses = _response_tokens(records, prompts, tokenizer, section.system_prompt)
    return [_fit(*pair, section.max_tokens) for pair in zip(prompts, responses, strict=True)]


def prompt_tokens(
    prompts: Sequence[str], tokenizer: PreTrainedTokenizerBase, system_prompt: str | None
) -> list[list[int]]:
    """Token ids of each prompt up to where the model's response begins."""
    texts = [_prompt_text(prompt, tokenizer, system_prompt) for prompt in prompts]
    if tokenizer.chat_template is not None:
        return _tokens(texts, tokenizer)
    tokenised = _tokens(texts, tokenizer, add_special_tokens=True)
    # A tokenizer that also ends its inputs would end the text before the response.
    return [tokens[:-1] if tokens[-1:] == [tokenizer.eos_token_id] else tokens for tokens in tokenised]


def _response_tokens(
    records: Sequence[Record],
    prompts: Sequence[list[int]],
    tokenizer: PreTrainedTokenizerBase,
    system_prompt: str | None,
) -> list[list[int]]:
    end = tokenizer.eos_token or ""
    if tokenizer.chat_template is None:
        return _tokens([record.response + end for record in records], tokenizer)
    whole_texts = []
    for record in records:
        # White space after the mark that ends the turn is never generated: the model has stopped by then.
        text = _render(tokenizer, record.prompt, system_prompt, record.response).rstrip()
        whole_texts.append(text + end if text.endswith(record.response.rstrip()) else text)
    whole = _tokens(whole_texts, tokenizer)
    responses = [
        tokens[len(prompt) :] if tokens[: len(prompt)] == prompt else []
        for tokens, prompt in zip(whole, prompts, strict=True)
    ]
    # Templates that rewrite a finished turn (dropping its reasoning, say) do not continue the prompt.
    odd = [position for position, response in enumerate(responses) if not response]
    for position, tokens in zip(odd, _tokens([records[i].response + end for i in odd], tokenizer), strict=True):
        responses[position] = tokens
    return responses


def _fit(prompt: list[int], response: list[int], max_tokens: int) -> Example:
    length = len(prompt) + len(response)
    keep = min(len(response), max(max_tokens - len(prompt), max_tokens // 2))
    start = max(0, len(prompt) + keep - max_tokens)
    tokens = np.asarray(prompt[start:] + response[:keep], dtype=np.int32)
    return Example(tokens, prompt_length=len(prompt) - start, truncated=len(tokens) < length)


def _prompt_text(prompt: str, tokenizer: PreTrainedTokenizerBase, system_prompt: str | None) -> str:
    if tokenizer.chat_template is not None:
        return _render(tokenizer, prompt, system_prompt)
    return "\n".join([*([system_prompt] if system_prompt else []), prompt, ""])


def _render(
    tokenizer: PreTrainedTokenizerBase, prompt: str, system_prompt: str | None, response: str | None = None
) -> str:
    """The conversation as text: up to where the response begins, or with the response and the end of its turn."""
    turns = [{"role": "user", "content": prompt}]
    if response is not None:
        turns.append({"role": "assistant", "content": response})
    options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": response is None}
    if system_prompt is None:
        return str(tokenizer.apply_chat_template(turns, **options))
    try:
        return str(tokenizer.apply_chat_template([{"role": "system", "content": system_prompt}, *turns], **options))
    except TemplateError:  # some templates know no system role
        turns[0]["content"] = f"{system_prompt}\n\n{prompt}"
        return str(tokenizer.apply_chat_template(turns, **options))


def _tokens(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, add_special_tokens: bool = False
) -> list[list[int]]:
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
    return ids
