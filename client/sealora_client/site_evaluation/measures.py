"""The figures of an evaluation: each of all records, or of each as often as it counts in a sample of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sealora_client.evaluation.text_scores import evaluation_package, likeness_score
from sealora_client.site_evaluation.calibration import brier_score, calibration_error
from sealora_client.site_evaluation.measured import AnswerValues, ClassValues, RecordValues
from sealora_common.errors import ModelError

Floats = NDArray[np.float64]
Weighted = Callable[[Floats], float]
"""A figure by how often each record counts, float64 (N,); nan where it has none."""
MOST_CLASSES = 20
"""Distinct right answers that are taken for classes, where there are two records of each on average."""


@dataclass(frozen=True)
class Measure:
    """One figure of one model.

    Attributes:
        name: for programs.
        title: for people.
        unit: likewise.
        better: which way.
        of: computes it.
        is_share: whether it is a share of records that each count as 0 or 1.
    """

    name: str
    title: str
    unit: str
    better: Literal["lower", "higher"]
    of: Weighted
    is_share: bool = False


def measures(values: RecordValues, loss_unit: str) -> tuple[list[Measure], list[str]]:
    """The figures that one model's values have, and sentences on those that cannot be had here.

    Args:
        values: of N records.
        loss_unit: what the loss is counted in.
    """
    found = [Measure("loss", "loss", loss_unit, "lower", _ratio(values.loss, values.terms))]
    missing: list[str] = []
    if values.token_hits is not None:
        found.append(Measure("perplexity", "perplexity", "of a token", "lower", _exponential(found[0].of)))
        of = _ratio(values.token_hits, values.terms)
        found.append(Measure("token_accuracy", "token accuracy", "share of tokens", "higher", of))
    if values.answers is not None:
        found += _of_answers(values.answers, missing)
    if values.classes is not None:
        found += _of_classes(values.classes)
    return found, missing


def _of_answers(answers: AnswerValues, missing: list[str]) -> list[Measure]:
    right = answers.exact.astype(np.float64)
    records = np.ones_like(right)
    found = [Measure("exact_match", "exact match", "share of records", "higher", _ratio(right, records), is_share=True)]
    classes = list(dict.fromkeys(answers.right))
    if 1 < len(classes) <= min(MOST_CLASSES, len(right) // 2):
        number = {text: place for place, text in enumerate(classes)}
        said = np.array([number.get(text, len(classes)) for text in answers.texts])
        asked = np.array([number[text] for text in answers.right])
        found.append(_macro_f1(asked, said, len(classes), "right answers"))
    found += _if_installed(lambda: _corpus("BLEU", answers), missing)
    found += _if_installed(lambda: _corpus("CHRF", answers), missing)
    found += _if_installed(lambda: _rouge_l(answers, records), missing)
    return [*found, *_calibration(answers.probability, right, "the answer")]


def _of_classes(classes: ClassValues) -> list[Measure]:
    right = (classes.likeliest == classes.right).astype(np.float64)
    accuracy = _ratio(right, np.ones_like(right))
    return [
        Measure("accuracy", "accuracy", "share of records", "higher", accuracy, is_share=True),
        _macro_f1(classes.right, classes.likeliest, len(classes.words), "classes"),
        *_calibration(classes.probability, right, "the class"),
    ]


def _calibration(probability: Floats, right: Floats, what: str) -> list[Measure]:
    return [
        Measure(
            "calibration_error",
            "calibration error",
            f"distance from 0 to 1, {what} that is likeliest",
            "lower",
            lambda weights: calibration_error(probability, right, weights),
        ),
        Measure(
            "brier_score",
            "Brier score",
            f"from 0 to 1, {what} that is likeliest",
            "lower",
            lambda weights: brier_score(probability, right, weights),
        ),
    ]


def _if_installed(make: Callable[[], Measure], missing: list[str]) -> list[Measure]:
    try:
        return [make()]
    except ModelError as error:
        missing.append(str(error))
        return []


def _macro_f1(right: NDArray[np.int64], said: NDArray[np.int64], classes: int, over: str) -> Measure:
    """The unweighted mean of the classes' F1; a class that nobody asked for and nobody said is none.

    It is scikit-learn's, as a test holds, written down here because that takes milliseconds for each of a thousand
    samples.

    Args:
        right: (N,), from 0 to below `classes`.
        said: likewise, or `classes` for none of them.
        classes: how many there are.
        over: what they are.
    """

    def of(weights: Floats) -> float:
        asked, named, hits = (
            np.bincount(numbers, counts, classes + 1)[:classes]
            for numbers, counts in ((right, weights), (said, weights), (right, weights * (right == said)))
        )
        there = asked + named > 0
        return float((2 * hits[there] / (asked + named)[there]).mean()) if there.any() else math.nan

    return Measure("macro_f1", "macro-F1", f"from 0 to 1, mean over {classes} {over}", "higher", of)


def _corpus(kind: Literal["BLEU", "CHRF"], answers: AnswerValues) -> Measure:
    """Of all answers together, from what sacrebleu counts in each, which it adds up itself."""
    title = "BLEU" if kind == "BLEU" else "chrF"
    metric: Any = getattr(evaluation_package("sacrebleu.metrics", "sacrebleu", title), kind)()
    counts = np.array(metric._extract_corpus_statistics(list(answers.texts), [list(answers.right)]), dtype=np.float64)

    def of(weights: Floats) -> float:
        return float(metric._compute_score_from_stats((weights @ counts).round().astype(int).tolist()).score) / 100

    return Measure(kind.lower(), title, "of all answers together, from 0 to 1", "higher", of)


def _rouge_l(answers: AnswerValues, records: Floats) -> Measure:
    score = likeness_score("rouge_l")
    each = np.array([score(text, right) for text, right in zip(answers.texts, answers.right, strict=True)])
    return Measure("rouge_l", "ROUGE-L", "F-measure, mean over records", "higher", _ratio(each, records))


def _ratio(sums: Floats, counts: Floats) -> Weighted:
    def of(weights: Floats) -> float:
        over = float(weights @ counts)
        with np.errstate(invalid="ignore"):  # a loss may be infinite
            return float(weights @ sums) / over if over else math.nan

    return of


def _exponential(of: Weighted) -> Weighted:
    def exponential(weights: Floats) -> float:
        try:
            return math.exp(of(weights))
        except OverflowError:
            return math.inf

    return exponential


def by_name(found: Sequence[Measure]) -> Mapping[str, Measure]:
    """The figures by their names."""
    return {measure.name: measure for measure in found}
