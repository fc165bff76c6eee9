"""What the tokenizer and the template make of the records, as a run would."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sealora_client.data.example import Example, Unusable
from sealora_client.data.examples import blocks
from sealora_client.data.load import examples_with
from sealora_client.data.record import Record
from sealora_client.data.templates.choice import template_of
from sealora_client.data.templates.control import control_names
from sealora_client.data.templates.soundness import fault_of
from sealora_client.data_report.base_tokens import BaseTokens
from sealora_client.data_report.chosen import ReadData
from sealora_client.data_report.notes import Notes, share
from sealora_client.data_report.report import Lengths, Spread, Tally, TooLong
from sealora_client.data_report.sizes import unusable
from sealora_common.recipe import Recipe

_WHOLE = 131072
"""Tokens of an example that is not cut: the most that a recipe may ask for."""
_MANY = 0.1


@dataclass(frozen=True)
class TokenReport:
    """What is said of the records' tokens; attributes as of `DataReport`."""

    lengths: tuple[Lengths, ...]
    too_long: TooLong
    unusable: tuple[Tally, ...]


def examples_shown(records: Sequence[Record], recipe: Recipe, base: BaseTokens) -> list[Example]:
    """Each record as a run shows it to the model."""
    return examples_with(records, recipe, base.tokenizer, base.tokens.count)


def whole_examples(records: Sequence[Record], recipe: Recipe, base: BaseTokens) -> list[Example]:
    """Each record as the model would see it if examples could be as long as they like."""
    section = recipe.data.model_copy(update={"max_tokens": max(_WHOLE, recipe.data.max_tokens)})
    return examples_with(records, recipe.model_copy(update={"data": section}), base.tokenizer, base.tokens.count)


def tokens(data: ReadData, recipe: Recipe, base: BaseTokens, notes: Notes) -> TokenReport:
    """Lengths in tokens, what is cut, and what cannot be shown; what a template does wrong is a problem of `notes`."""
    section, records = recipe.data, data.both
    template = template_of(base.tokenizer, section)
    turns = section.learned_turns if section.layout == "messages" else None
    fault = fault_of(template, base.tokens, section.max_tokens, turns)
    if fault is not None:
        notes.problems.append(f"the {template.name} of {recipe.model.base} {fault}")
    lengths: list[int] = []
    learned: list[int] = []
    beyond: dict[int, int] = {}
    lines: dict[Unusable, list[int]] = defaultdict(list)
    for block in blocks(records):
        shown = list(zip(block, examples_shown(block, recipe, base), strict=True))
        cut = [record for record, example in shown if example.truncated]
        whole = {
            record.line: example.length for record, example in zip(cut, whole_examples(cut, recipe, base), strict=True)
        }
        beyond.update((line, max(1, length - section.max_tokens)) for line, length in whole.items())
        for record, example in shown:
            if example.unusable is not None:
                lines[example.unusable].append(record.line)
                continue
            lengths.append(whole.get(record.line, sum(piece.length for piece in example.pieces)))
            learned.append(sum(int(piece.learned.sum()) for piece in example.pieces))
    if len(beyond) > _MANY * len(records):
        notes.remarks.append(
            f"{data.path}: {share(len(beyond), len(records))} are cut to data.max_tokens {section.max_tokens} "
            f"({data.listed(beyond)}): shorten them, or agree on more tokens"
        )
    spreads = (("tokens of examples", Spread.of(lengths)), ("tokens trained on", Spread.of(learned)))
    return TokenReport(
        lengths=tuple(Lengths(of=of, spread=spread) for of, spread in spreads if spread is not None),
        too_long=TooLong(limit=section.max_tokens, records=len(beyond), cut=Spread.of(beyond.values())),
        unusable=unusable(data, lines, notes),
    )


def control_pattern(base: BaseTokens | None) -> re.Pattern[str]:
    """Finds the names of the model's control tokens; nothing if there is no tokenizer to know them from."""
    return re.compile(r"(?!)") if base is None else control_names(base.tokenizer)
