"""From text to tokens: records in the conversation format that the base model was taught.

The tokenizer's own chat template is used. One without a template (a base model that was never instruction-tuned)
gets the plain form: prompt, newline, response, end of text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from sealora_client.data.example import Example, Unusable
from sealora_client.data.record import Record
from sealora_client.data.templates.rendering import TemplateRefusedError, render
from sealora_common.errors import DataError
from sealora_common.recipe.schema import DataSection

_SLACK = 2
"""Times `max_tokens` that are left of a text before it is tokenised."""
_BLOCK_RECORDS = 512
_BLOCK_CHARACTERS = 1 << 22


def to_examples(
    records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, section: DataSection, vocabulary: int | None = None
) -> list[Example]:
    """Tokenises `records`, in order, each to at most `section.max_tokens` tokens.

    The response includes what ends a turn, so that the model learns to stop. An example that is too long loses
    the end of its response, down to half of `max_tokens`; if its prompt leaves less room than that, the prompt
    loses its beginning.

    Total: a record that cannot be shown to the model, for whatever reason of its own, gives `Example.placeholder`, and
    changes no other's example.

    Args:
        records: any number of them, of any length: no more text of one is tokenised than `max_tokens` can need.
        tokenizer: the base model's.
        section: says how long examples may be, and which system prompt they have.
        vocabulary: tokens of this id and above are not the model's; None if it has all of the tokenizer's.
    """
    room = _SLACK * section.max_tokens * _longest_token(tokenizer)
    examples: list[Example] = []
    for block in _blocks([_shortened(record, room) for record in records]):
        examples += _each(block, tokenizer, section, vocabulary)
    return [
        replace(example, truncated=True)
        if max(len(record.prompt), len(record.response)) > room and example.unusable is None
        else example
        for record, example in zip(records, examples, strict=True)
    ]


def prompt_tokens(
    prompts: Sequence[str], tokenizer: PreTrainedTokenizerBase, system_prompt: str | None
) -> list[list[int]]:
    """Token ids of each prompt up to where the model's response begins.

    Raises:
        DataError: the chat template or the tokenizer fails on one of them.
    """
    with _blaming("template"):
        texts = [_prompt_text(prompt, tokenizer, system_prompt) for prompt in prompts]
    if tokenizer.chat_template is not None:
        return _tokens(texts, tokenizer)
    tokenised = _tokens(texts, tokenizer, add_special_tokens=True)
    # A tokenizer that also ends its inputs would end the text before the response.
    return [tokens[:-1] if tokens[-1:] == [tokenizer.eos_token_id] else tokens for tokens in tokenised]


class _UnusableError(DataError):
    """The template or the tokenizer failed, on one of the texts at least."""

    def __init__(self, reason: Unusable) -> None:
        super().__init__(f"the base model's {reason} fails on a text: change the text, or use another base model")
        self.reason = reason


@contextmanager
def _blaming(reason: Unusable) -> Iterator[None]:
    """Whatever goes wrong within has this reason, be it an error of Python or a panic of the tokenizer's Rust."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__module__ != "pyo3_runtime":
            raise  # a wish to stop
        raise _UnusableError(reason) from error


def _longest_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """Characters of the longest token: so many times n characters are n tokens at least."""
    return max(map(len, tokenizer.get_vocab()))


def _shortened(record: Record, room: int) -> Record:
    """The end of a prompt, and the beginning of a response, that are longer than `room` characters.

    An example keeps no more of either, and a tokenizer needs minutes and gigabytes for a text of 100 MB. What is cut
    lies a whole `max_tokens` tokens beyond what is kept, so that it takes a single word of that length for the cut to
    show in what is kept.
    """
    if max(len(record.prompt), len(record.response)) <= room:
        return record
    return replace(record, prompt=record.prompt[-room:], response=record.response[:room])


def _blocks(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Consecutive records that are tokenised at a time, which bounds the memory that takes."""
    start = characters = 0
    for position, record in enumerate(records):
        own = len(record.prompt) + len(record.response)
        if position > start and (position - start == _BLOCK_RECORDS or characters + own > _BLOCK_CHARACTERS):
            yield records[start:position]
            start, characters = position, 0
        characters += own
    if start < len(records):
        yield records[start:]


def _each(
    records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, section: DataSection, vocabulary: int | None
) -> list[Example]:
    """All at once; if that fails each half by itself, down to the records that it is for."""
    try:
        prompts = prompt_tokens([record.prompt for record in records], tokenizer, section.system_prompt)
        responses = _response_tokens(records, prompts, tokenizer, section.system_prompt)
        with _blaming("tokenizer"):
            return [_fit(*pair, section.max_tokens, vocabulary) for pair in zip(prompts, responses, strict=True)]
    except _UnusableError as error:
        if len(records) == 1:
            return [Example.placeholder(error.reason)]
    half = len(records) // 2
    parts = (records[:half], records[half:])
    return [example for part in parts for example in _each(part, tokenizer, section, vocabulary)]


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
    with _blaming("template"):
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


def _fit(prompt: list[int], response: list[int], max_tokens: int, vocabulary: int | None) -> Example:
    if not prompt:  # the first token of a response is predicted from the last of its prompt
        return Example.placeholder("prompt")
    if not response:
        return Example.placeholder("response")
    length = len(prompt) + len(response)
    keep = min(len(response), max(max_tokens - len(prompt), max_tokens // 2))
    start = max(0, len(prompt) + keep - max_tokens)
    kept = prompt[start:] + response[:keep]
    if vocabulary is not None and not (min(kept) >= 0 and max(kept) < vocabulary):
        return Example.placeholder("vocabulary")
    return Example(np.asarray(kept, dtype=np.int32), prompt_length=len(prompt) - start, truncated=len(kept) < length)


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
    if system_prompt is None:
        return render(tokenizer, turns, prompt=response is None)
    try:
        return render(tokenizer, [{"role": "system", "content": system_prompt}, *turns], prompt=response is None)
    except TemplateRefusedError:  # some templates know no system role
        turns[0]["content"] = f"{system_prompt}\n\n{prompt}"
        return render(tokenizer, turns, prompt=response is None)


def _tokens(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, add_special_tokens: bool = False
) -> list[list[int]]:
    if not texts:
        return []
    with _blaming("tokenizer"):
        ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
    return ids
