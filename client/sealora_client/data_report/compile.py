"""A report on a site's data: everything that can be told without a model's weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sealora_client.data.record import Record
from sealora_client.data.remarks import remarks
from sealora_client.data.source.problems import sentences_of
from sealora_client.data_quality.near import SIMILARITY
from sealora_client.data_quality.personal import PersonalPatterns
from sealora_client.data_report import sizes
from sealora_client.data_report.chosen import ChosenData, ReadData
from sealora_client.data_report.likeness import likeness
from sealora_client.data_report.notes import Notes
from sealora_client.data_report.report import SAMPLE, DataReport, Likeness, Tally
from sealora_client.data_report.wording import damage, languages, personal
from sealora_common.errors import DataError, ModelError


@dataclass(frozen=True)
class Looking:
    """How closely the data is looked at.

    Attributes:
        sample: at most so many records are compared with each other, and searched for languages and personal data.
        similarity: from which on two records are nearly the same, in (0, 1].
        countries: whose national numbers are looked for, see `PersonalPatterns`.
    """

    sample: int = SAMPLE
    similarity: float = SIMILARITY
    countries: tuple[str, ...] = ()


def report_on(chosen: ChosenData, looking: Looking) -> DataReport:
    """Reads the data and looks at it.

    Raises:
        DataError: there are no patterns for a country. What is wrong with the data is in the report.
    """
    recipe, notes = chosen.recipe, Notes()
    patterns: PersonalPatterns | None = None
    with notes.or_left_out():
        patterns = PersonalPatterns(looking.countries)
    try:
        data = chosen.read()
    except DataError as error:
        return DataReport(data=str(chosen.path), recipe=recipe.name, problems=sentences_of(error))
    from sealora_client.data_report.base_tokens import BaseTokens  # here, as a file that cannot be read needs no torch
    from sealora_client.data_report.tokens import control_pattern, tokens

    base = told = None
    try:
        base = BaseTokens.load(recipe.model)
    except ModelError as error:
        notes.left_out.append(f"tokens were not looked at: {error}")
    how_many = sizes.sizes(data, notes)
    notes.remarks += remarks(data.path, data.places, data.both, control_pattern(base))
    if base is not None:
        told = tokens(data, recipe, base, notes)
        without_use = told.unusable
    else:
        without_use = sizes.unusable(data, sizes.lines_against_recipe(data, recipe), notes)
    labels = sizes.labels(data, recipe.data, notes)
    damaged = damage(data, notes)
    sample = _sample(data, looking.sample, notes)
    alike: Likeness | None = None
    spoken: tuple[Tally, ...] = ()
    with notes.or_left_out():
        alike = likeness(data, sample, looking.similarity, notes)
    with notes.or_left_out():
        spoken = languages(data, sample, notes)
    personal_data = None if patterns is None else personal(data, sample, patterns, notes)
    return DataReport(
        data=str(data.path),
        recipe=recipe.name,
        problems=tuple(notes.problems),
        remarks=tuple(notes.remarks),
        left_out=tuple(notes.left_out),
        unread=data.unread,
        sizes=how_many,
        lengths=(*sizes.lengths(data), *(() if told is None else told.lengths)),
        too_long=None if told is None else told.too_long,
        unusable=without_use,
        copies=sizes.copies(data),
        likeness=alike,
        labels=labels,
        languages=spoken,
        damage=damaged,
        personal=personal_data,
    )


def _sample(data: ReadData, most: int, notes: Notes) -> Sequence[Record]:
    """At most so many records of both parts, the same ones each time, in their order."""
    records = data.both
    if len(records) <= most:
        return records
    notes.left_out.append(
        f"near-duplicates, languages and personal data were looked for in {most} of {len(records)} records, chosen at "
        "random: use a larger --sample for more"
    )
    chosen = np.sort(np.random.default_rng(0).choice(len(records), most, replace=False))
    return [records[place] for place in chosen]
