"""An evaluation for people: one HTML page that needs nothing but itself, and lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sealora_client.site_evaluation.evaluate import Evaluated
from sealora_client.site_evaluation.evaluation import (
    CONFIDENTIAL,
    EVALUATION,
    EVALUATION_PAGE,
    EvaluatedFigure,
    GroupsOfColumn,
    SiteEvaluation,
)
from sealora_common.show.pages import page_templates
from sealora_common.show.quantities import count_text
from sealora_common.storage.durable import write_atomically

_HEADLINES = ("accuracy", "exact_match", "token_accuracy", "loss")
"""The figure by which groups are shown, the first that there is."""


def write_evaluation(directory: Path, found: Evaluated) -> None:
    """Writes the figures and the page, for this account alone (mode 0600).

    Args:
        directory: where the site keeps the run.
        found: what was found.

    Raises:
        StorageError: they could not be written.
    """
    content = found.evaluation.model_dump_json(indent=2).encode() + b"\n"
    page = evaluation_page(found).encode()
    write_atomically(directory / EVALUATION, content)
    write_atomically(directory / EVALUATION_PAGE, page)


def evaluation_page(found: Evaluated) -> str:
    """The page's HTML."""
    pages = page_templates("sealora_client.site_evaluation")
    return pages.get_template("evaluation.html.j2").render(
        found=found.evaluation,
        examples=found.examples,
        remarks=remarks(found.evaluation),
        confidential=CONFIDENTIAL,
        headline=headline,
        named={figure.name: figure for figure in found.evaluation.figures},
        count_text=count_text,
    )


def headline(figures: tuple[EvaluatedFigure, ...]) -> EvaluatedFigure | None:
    """The figure by which groups are compared at a glance; None if there is none."""
    named = {figure.name: figure for figure in figures}
    return next((named[name] for name in _HEADLINES if name in named), None)


def remarks(found: SiteEvaluation) -> list[str]:
    """What must be known to read the figures."""
    said = []
    if found.trained_on:
        said.append(
            f"{found.trained_on} of the {count_text(found.records + found.unusable, 'record')} stand among those that "
            "this site trained on: of them the figures measure memory, and are too good."
        )
    if found.unusable:
        said.append(f"In no figure: {count_text(found.unusable, 'record')} that could not be shown to the model.")
    if found.truncated:
        said.append(f"Cut to the recipe's data.max_tokens: {count_text(found.truncated, 'record')}.")
    if found.answers_cut:
        said.append(
            f"{found.answers_cut} of the adapter's answers were not at their end after {found.max_new_tokens} tokens, "
            "and are judged by what there is of them."
        )
    if found.units < found.records:
        said.append(f"The records are of {found.units} persons, whose records were drawn together for the intervals.")
    return [*said, *found.missing]


def evaluation_lines(found: SiteEvaluation) -> Iterator[str]:
    """The figures for a terminal, a line each."""
    yield f"{found.source}, {count_text(found.records, 'record')}; 95 % intervals in brackets"
    width = max(len(figure.title) for figure in found.figures)
    for figure in found.figures:
        yield (
            f"  {figure.title:{width}}  {figure.text(figure.adapter.value)} [{figure.interval_text(figure.adapter)}], "
            f"base model {figure.text(figure.base.value)} [{figure.interval_text(figure.base)}]"
            + _beside_text(found, figure)
        )
    for column in found.by:
        yield from _group_lines(column)
    yield from remarks(found)


def _beside_text(found: SiteEvaluation, figure: EvaluatedFigure) -> str:
    if found.beside is None or figure.beside is None:
        return ""
    return f", {found.beside.title} {figure.text(figure.beside.value)} [{figure.interval_text(figure.beside)}]"


def _group_lines(found: GroupsOfColumn) -> Iterator[str]:
    yield f"by {found.column}:"
    for group in found.groups:
        figure = headline(group.figures)
        said = "too few for figures"
        if figure is not None:
            said = f"{figure.title} {figure.text(figure.adapter.value)} [{figure.interval_text(figure.adapter)}]"
        yield f"  {group.value}  {count_text(group.records, 'record')}: {said}"
    shown = headline(next((group.figures for group in found.groups if group.figures), ()))
    for spread in found.spreads:
        if shown is not None and spread.name == shown.name:
            within = "within the intervals" if spread.within_intervals else "beyond the intervals"
            yield (
                f"  largest difference in {spread.title}: {shown.text(spread.difference)} between {spread.largest} and "
                f"{spread.smallest}, {within}"
            )
