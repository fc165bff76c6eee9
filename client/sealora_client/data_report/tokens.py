"""What the tokenizer and the template make of the records, as a run would."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sealora_client.data.example import Example, Unusable
from sealora_client.data.examples import to_examples
from sealora_client.data.load import UNUSABLE_REASONS
from sealora_client.data.record import Record
from sealora_client.data.templates.choice import template_of
from sealora_client.data.templates.control import control_names
from sealora_client.data.templates.soundness import fault_of
from sealora_client.data_report.base_tokens import BaseTokens
from sealora_client.data_report.chosen import ReadData
from sealora_client.data_report.notes import Notes, share
from sealora_client.data_report.report import Lengths, Spread, Tally, TooLong
from sealora_client.objective.choice import objective_of
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


def whole_examples(records: Sequence[Record], recipe: Recipe, base: BaseTokens) -> list[Example]:
    """Each record as the model would see it if examples could be as long as they like."""
    section = recipe.data.model_copy(update={"max_tokens": max(_WHOLE, recipe.data.max_tokens)})
    return to_examples(records, base.tokenizer, section, base.tokens.count)


def examples_shown(records: Sequence[Record], recipe: Recipe, base: BaseTokens) -> list[Example]:
    """Each record as a run shows it to the model."""
    return objective_of(recipe).examples(records, base.tokenizer, recipe.data, base.tokens.count)


def tokens(data: ReadData, recipe: Recipe, base: BaseTokens, notes: Notes) -> TokenReport:
    """Lengths in tokens, what is cut, and what cannot be shown; what a template does wrong is a problem of `notes`."""
    section, records = recipe.data, data.both
    template = template_of(base.tokenizer, section)
    turns = section.learned_turns if section.layout == "messages" else None
    fault = fault_of(template, base.tokens, section.max_tokens, turns)
    if fault is not None:
        notes.problems.append(f"the {template.name} of {recipe.model.base} {fault}")
    examples = examples_shown(records, recipe, base)
    cut = [record for record, example in zip(records, examples, strict=True) if example.truncated]
    whole = {
        id(record): len(example.tokens) for record, example in zip(cut, whole_examples(cut, recipe, base), strict=True)
    }
    usable = [(record, example) for record, example in zip(records, examples, strict=True) if example.unusable is None]
    spreads = (
        ("tokens of examples", Spread.of(whole.get(id(record), len(example.tokens)) for record, example in usable)),
        ("tokens trained on", Spread.of(int(example.learned.sum()) for _, example in usable)),
    )
    beyond = Spread.of(max(1, whole[id(record)] - section.max_tokens) for record in cut)
    if len(cut) > _MANY * len(records):
        notes.remarks.append(
            f"{data.path}: {share(len(cut), len(records))} are cut to data.max_tokens {section.max_tokens} "
            f"({data.listed(cut)}): shorten them, or agree on more tokens"
        )
    return TokenReport(
        lengths=tuple(Lengths(of=of, spread=spread) for of, spread in spreads if spread is not None),
        too_long=TooLong(limit=section.max_tokens, records=len(cut), cut=beyond),
        unusable=_unusable(data, examples, notes),
    )


def control_pattern(base: BaseTokens | None) -> re.Pattern[str]:
    """Finds the names of the model's control tokens; nothing if there is no tokenizer to know them from."""
    return re.compile(r"(?!)") if base is None else control_names(base.tokenizer)


def _unusable(data: ReadData, examples: Sequence[Example], notes: Notes) -> tuple[Tally, ...]:
    by_reason: dict[Unusable, list[Record]] = defaultdict(list)
    for record, example in zip(data.both, examples, strict=True):
        if example.unusable is not None:
            by_reason[example.unusable].append(record)
    for reason, records in by_reason.items():
        notes.remarks.append(
            f"{data.path}: {share(len(records), len(data.both))} teach and measure nothing, as "
            f"{UNUSABLE_REASONS[reason]} ({data.listed(records)}): correct or drop them"
        )
    if sum(map(len, by_reason.values())) == len(data.both):
        notes.problems.append(
            f"{data.path}: none of the records can be shown to the model: use a base model whose tokenizer and chat "
            "template take such text, or correct the records"
        )
    return tuple(Tally(name=UNUSABLE_REASONS[reason], records=len(records)) for reason, records in by_reason.items())
