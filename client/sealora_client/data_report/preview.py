"""Records token by token, as the model sees them: which tokens are control, which are trained on, which are cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from transformers import PreTrainedTokenizerBase

from sealora_client.data.example import Example
from sealora_client.data.load import UNUSABLE_REASONS
from sealora_client.data.record import Record
from sealora_client.data.templates.control import control_tokens
from sealora_client.data_report.base_tokens import BaseTokens
from sealora_client.data_report.chosen import ReadData
from sealora_client.data_report.report import Heap
from sealora_client.data_report.tokens import examples_shown, whole_examples
from sealora_common.errors import DataError
from sealora_common.recipe import Recipe


@dataclass(frozen=True)
class ShownToken:
    """One token.

    Attributes:
        text: what it adds to the text; empty for a token that is a part of a character only.
        control: whether it is one of the model's control tokens.
        trained: whether loss is taken on it.
        cut: whether the model does not see it, as the record is too long.
    """

    text: str
    control: bool
    trained: bool
    cut: bool


@dataclass(frozen=True)
class ShownRecord:
    """A record as the model sees it.

    Attributes:
        line: where it stands.
        heap: the part of the data it belongs to.
        tokens: all of them, those that are cut among them if it is known which.
        cut: how many tokens are cut; earlier turns of a conversation are cut whole.
        which: of several sequences that the model is shown of the record, in words; empty if there is one.
        unusable: why it cannot be shown to the model, in words; None if it can. Then it has no tokens.
    """

    line: int
    heap: Heap
    tokens: tuple[ShownToken, ...]
    cut: int
    which: str = ""
    unusable: str | None = None


def chosen_records(data: ReadData, count: int, seed: int, line: int | None) -> list[tuple[Heap, Record]]:
    """Some records of both parts, in the order of the file, each with its part.

    Args:
        data: what is chosen from.
        count: so many, if there are.
        seed: equal ones choose equal records.
        line: the record of this line alone, in place of those.

    Raises:
        DataError: there is none in that line.
    """
    parts: tuple[tuple[Heap, Sequence[Record]], ...] = (("training", data.train), ("held out", data.heldout))
    all_of_them = sorted(((heap, record) for heap, part in parts for record in part), key=lambda each: each[1].line)
    if line is not None:
        found = [each for each in all_of_them if each[1].line == line]
        if not found:
            raise DataError(f"{data.places.of(line)}: there is no record there: name another with --line")
        return found
    places = np.random.default_rng(seed).choice(len(all_of_them), min(count, len(all_of_them)), replace=False)
    return [all_of_them[place] for place in sorted(places)]


def shown_records(chosen: Sequence[tuple[Heap, Record]], recipe: Recipe, base: BaseTokens) -> list[ShownRecord]:
    """Each as a run would show it."""
    records = [record for _, record in chosen]
    pairs = zip(examples_shown(records, recipe, base), whole_examples(records, recipe, base), strict=True)
    return [
        shown
        for (heap, record), (example, whole) in zip(chosen, pairs, strict=True)
        for shown in _sequences(heap, record, example, whole, base.tokenizer)
    ]


def _sequences(
    heap: Heap, record: Record, example: Example, whole: Example, tokenizer: PreTrainedTokenizerBase
) -> Iterator[ShownRecord]:
    """All that the model is shown of one record: with its rejected response too, or piece by piece."""
    if example.unusable is not None:
        yield ShownRecord(record.line, heap, (), 0, unusable=UNUSABLE_REASONS[example.unusable])
        return
    if example.following:
        for number, piece in enumerate(example.pieces, 1):
            yield _shown(heap, record, piece, piece, tokenizer, f"piece {number} of {len(example.pieces)}")
        return
    single = "" if example.wanted else "with a response to avoid"
    names = (single,) if example.rejected is None else ("with the chosen response", "with the rejected response")
    for name, own, all_of_it in zip(names, example.sequences, whole.sequences, strict=True):
        yield _shown(heap, record, own, all_of_it, tokenizer, name)


def _shown(
    heap: Heap, record: Record, example: Example, whole: Example, tokenizer: PreTrainedTokenizerBase, which: str
) -> ShownRecord:
    kept = places_in(whole, example)
    seen, places = (example, list(range(len(example.tokens)))) if kept is None else (whole, kept)
    ids = [int(token) for token in seen.tokens]
    trained = set(np.asarray(places)[example.learned].tolist())
    shown = set(places)
    control = control_tokens(tokenizer)
    tokens = tuple(
        ShownToken(text, token in control, place in trained, place not in shown)
        for place, (token, text) in enumerate(zip(ids, token_texts(ids, tokenizer), strict=True))
    )
    return ShownRecord(record.line, heap, tokens, max(0, len(whole.tokens) - len(example.tokens)), which)


def places_in(whole: Example, example: Example) -> list[int] | None:
    """Where the tokens of `example` stand in `whole`; None if some stand nowhere.

    A prompt keeps its two ends, and a response its beginning: see `to_examples`.
    """
    prompt, own = whole.prompt_length, example.prompt_length
    ends = zip(whole.tokens[:prompt], example.tokens[:own], strict=False)
    head = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends))
    places = [
        *range(head),
        *range(prompt - (own - head), prompt),
        *range(prompt, prompt + example.response_length),
    ]
    found = all(0 <= place < len(whole.tokens) for place in places)
    return places if found and np.array_equal(whole.tokens[places], example.tokens) else None


def token_texts(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What each token adds to the text of those before it; nothing for one that is a part of a character.

    The text of the last token that makes up a character is the whole of it.
    """
    texts: list[str] = []
    begun = told = 0  # a few tokens back, as some tokenizers drop a blank at the beginning
    for place in range(len(ids)):
        before, now = _decoded(ids[begun:told], tokenizer), _decoded(ids[begun : place + 1], tokenizer)
        whole = len(now) > len(before) and not now.endswith("\ufffd")
        if whole or place == len(ids) - 1:
            texts.append(now[len(before) :])
            begun, told = told, place + 1
        else:
            texts.append("")
    return texts


def _decoded(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
