"""From records to examples: tokens within the model's bounds, whatever template stands around them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from sealora_client.data.example import Example
from sealora_client.data.record import Record
from sealora_client.data.templates.choice import template_of
from sealora_client.data.templates.document import Document
from sealora_client.data.templates.template import Shown, Template, UnusableError, blaming
from sealora_common.recipe.sections.data import DataSection

_SLACK = 2
"""Times `max_tokens` that are left of a text before it is tokenised."""
_BLOCK_RECORDS = 512
_BLOCK_CHARACTERS = 1 << 22


def to_examples(
    records: Sequence[Record],
    tokenizer: PreTrainedTokenizerBase,
    section: DataSection,
    vocabulary: int | None = None,
    slack: int = _SLACK,
) -> list[Example]:
    """Tokenises `records`, in order, each to at most `section.max_tokens` tokens.

    The response includes what ends a turn, so that the model learns to stop. A conversation that is too long loses its
    earliest exchanges, as few as it must. An example that is still too long loses the end of its response, down to half
    of `max_tokens`; if its prompt leaves less room than that, the prompt loses its middle, and nothing of what the
    template puts around it.

    With `section.long_texts: split` a text loses nothing, and has further examples in `Example.following`.

    Total: a record that cannot be shown to the model, for whatever reason of its own, gives `Example.placeholder`, and
    changes no other's example.

    Args:
        records: any number of them, of any length: no more text of one is tokenised than `max_tokens` can need.
        tokenizer: the base model's.
        section: says how long examples may be, and which system prompt they have.
        vocabulary: tokens of this id and above are not the model's; None if it has all of the tokenizer's.
        slack: times `section.max_tokens` that are left of a text, at the least, before it is tokenised.
    """
    template = template_of(tokenizer, section)
    room = slack * section.max_tokens * _longest_token(tokenizer)
    examples: list[Example] = []
    left = [_shortened(_latest(record, section.max_tokens), room) for record in records]
    for block in blocks(left):
        examples += _each(block, template, section.max_tokens, vocabulary)
    examples = [
        replace(example, truncated=True) if shorter is not record and example.unusable is None else example
        for record, shorter, example in zip(records, left, examples, strict=True)
    ]
    if section.long_texts == "cut":
        return examples
    return [
        _in_pieces(record.response, Document(tokenizer), section.max_tokens, vocabulary, room)
        if example.truncated
        else example
        for record, example in zip(records, examples, strict=True)
    ]


def _in_pieces(text: str, template: Document, max_tokens: int, vocabulary: int | None, room: int) -> Example:
    """All of a text, in examples of `max_tokens` tokens: the first, with those that follow it.

    Each but the first begins with the last token of the one before, so that every token but the text's first is
    predicted once.
    """
    try:
        with blaming("tokenizer"):
            tokens = template.whole(_parts(text, room))
    except UnusableError as error:
        return Example.placeholder(error.reason)
    if vocabulary is not None and not (min(tokens) >= 0 and max(tokens) < vocabulary):
        return Example.placeholder("vocabulary")
    whole = np.asarray(tokens, dtype=np.int32)
    first, *others = (
        Example(whole[start : start + max_tokens], prompt_length=1)
        for start in range(0, len(whole) - 1, max_tokens - 1)
    )
    return replace(first, following=tuple(others))


def _parts(text: str, room: int) -> list[str]:
    """A text in parts of `room` characters at the most, each cut before white space if there is any.

    A tokenizer needs minutes and gigabytes for a text of 100 MB, and words keep their tokens where they are whole.
    """
    parts, start = [], 0
    while len(text) - start > room:
        blank = max(text.rfind(blank, start + 1, start + room) for blank in " \n\t")
        stop = blank if blank > 0 else start + room
        parts.append(text[start:stop])
        start = stop
    return [*parts, text[start:]]


def _longest_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """Characters of the longest token: so many times n characters are n tokens at least."""
    return max(map(len, tokenizer.get_vocab()))


def _latest(record: Record, max_tokens: int) -> Record:
    """Without the earliest exchanges that there is no room for in any case, as each takes two tokens at the least.

    What a template makes of a conversation takes time by the square of its turns, and people may have written many.
    """
    beyond = len(record.exchanges) // 2 - max_tokens // 2
    return _without(record, beyond, None) if beyond > 0 else record


def _shortened(record: Record, room: int) -> Record:
    """Both ends of a text, and of a response the beginning, that are longer than `room` characters.

    An example keeps no more of either, and a tokenizer needs minutes and gigabytes for a text of 100 MB. What is cut
    lies half of `max_tokens` tokens beyond what is kept, so that it takes a single word of that length for the cut to
    show in what is kept. Nor does the cut leave white space at the end, which a template may treat otherwise.
    """
    if max(map(len, record.texts)) <= room:
        return record
    return replace(
        record,
        prompt=_both_ends(record.prompt, room),
        response=_beginning(record.response, room),
        earlier=tuple(replace(turn, text=_both_ends(turn.text, room)) for turn in record.earlier),
        rejected=None if record.rejected is None else _beginning(record.rejected, room),
    )


def _both_ends(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room // 2] + text[len(text) - room // 2 :]


def _beginning(text: str, room: int) -> str:
    return text if len(text) <= room else text[:room].rstrip() or text[:room]


def blocks(
    records: Sequence[Record], most: int = _BLOCK_RECORDS, characters_at_most: int = _BLOCK_CHARACTERS
) -> Iterator[Sequence[Record]]:
    """Consecutive records that are tokenised at a time, which bounds the memory that takes.

    Args:
        records: any number of them.
        most: records in a block.
        characters_at_most: in a block of several records.
    """
    start = characters = 0
    for position, record in enumerate(records):
        own = sum(map(len, record.texts))
        if position > start and (position - start == most or characters + own > characters_at_most):
            yield records[start:position]
            start, characters = position, 0
        characters += own
    if start < len(records):
        yield records[start:]


def _each(records: Sequence[Record], template: Template, max_tokens: int, vocabulary: int | None) -> list[Example]:
    """All at once; if that fails each half by itself, down to the records that it is for."""
    try:
        shown = template.shown(records)
        with blaming("tokenizer"):
            return [
                _fitted(record, one, template, max_tokens, vocabulary)
                for record, one in zip(records, shown, strict=True)
            ]
    except UnusableError as error:
        if len(records) == 1:
            return [Example.placeholder(error.reason)]
    half = len(records) // 2
    parts = (records[:half], records[half:])
    return [example for part in parts for example in _each(part, template, max_tokens, vocabulary)]


def _fitted(record: Record, shown: Shown, template: Template, max_tokens: int, vocabulary: int | None) -> Example:
    """The example of `record`, shown as `shown`, without as much of what came before its prompt as makes it too long.

    Of its earliest exchanges as few are left out as it takes; if all are, of a system's text of its own the middle is.
    """
    if shown.length <= max_tokens or not record.earlier:
        return fit(shown, max_tokens, vocabulary)

    def kept(exchanges: int, system: int | None = None) -> Shown:
        (one,) = template.shown([_without(record, exchanges, system)])
        return one

    pairs = len(record.exchanges) // 2
    dropped = 1 + bisect_left(range(1, pairs + 1), True, key=lambda count: kept(count).length <= max_tokens)
    if dropped <= pairs:
        shown = kept(dropped)
    elif record.system is not None:
        lengths = range(len(record.system), -1, -1)
        place = bisect_left(lengths, True, key=lambda length: kept(pairs, length).frame <= max_tokens // 2)
        shown = kept(pairs, lengths[min(place, len(lengths) - 1)])
    else:
        shown = kept(pairs)
    return replace(fit(shown, max_tokens, vocabulary), truncated=True)


def _without(record: Record, exchanges: int, system: int | None) -> Record:
    """Without so many of the earliest exchanges, and with so many characters of the system's text; None for all."""
    first = record.earlier[: len(record.earlier) - len(record.exchanges)]
    if system is not None:
        first = tuple(replace(turn, text=_both_ends(turn.text, system)) for turn in first)
    return replace(record, earlier=(*first, *record.exchanges[2 * exchanges :]))


def fit(shown: Shown, max_tokens: int, vocabulary: int | None = None) -> Example:
    """The example of a record, cut to `max_tokens` as `to_examples` says; arguments as there."""
    prompt, response = shown.given, shown.learned
    if not prompt:  # the first token of a response is predicted from the last of its prompt
        return Example.placeholder("prompt")
    if not response:
        return Example.placeholder("response")
    least = max(1, min(max_tokens // 2, max_tokens - shown.frame))
    keep = min(len(response), max(max_tokens - len(prompt), least))
    left = _without_middle(prompt, shown, max_tokens - keep)
    kept = left + response[:keep]
    if vocabulary is not None and not (min(kept) >= 0 and max(kept) < vocabulary):
        return Example.placeholder("vocabulary")
    cut = len(kept) < len(prompt) + len(response)
    # Of what has earlier responses nothing is cut: see `_fitted`.
    return Example(np.asarray(kept, dtype=np.int32), prompt_length=len(left), truncated=cut, earlier=shown.earlier)


def _without_middle(prompt: list[int], shown: Shown, room: int) -> list[int]:
    """The prompt in `room` tokens, 1 or more: the template's, and as many as that leaves of either end of the text."""
    if len(prompt) <= room:
        return prompt
    own = max(0, room - shown.frame)
    first = min(room, shown.head + (own + 1) // 2)
    last = room - first
    return prompt[:first] + prompt[len(prompt) - last :]
