"""The figures of an evaluation: known answers, the libraries asked directly, intervals, and groups."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu import corpus_bleu, corpus_chrf
from sklearn.metrics import brier_score_loss, f1_score

from sealora_client.site_evaluation import intervals
from sealora_client.site_evaluation.calibration import brier_score, calibration_error
from sealora_client.site_evaluation.estimates import ModelPair, estimated
from sealora_client.site_evaluation.intervals import percentile_interval, resampled
from sealora_client.site_evaluation.measured import AnswerValues, ClassValues, RecordValues
from sealora_client.site_evaluation.measures import _macro_f1, by_name, measures
from sealora_client.site_evaluation.subgroups import by_column
from sealora_common.records.share_interval import share_interval

WORDS = ["acute", "chronic", "pain", "of", "the", "left", "right", "heart", "lung", "wall"]


@pytest.fixture
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is asked of intervals."""
    monkeypatch.setattr(intervals, "RESAMPLES", 40)


def classes_of(right: list[int], likeliest: list[int], probability: list[float]) -> RecordValues:
    count = len(right)
    return RecordValues(
        loss=np.linspace(0.1, 2.0, count),
        terms=np.ones(count),
        classes=ClassValues(("a", "b", "c"), np.array(likeliest), np.array(right), np.array(probability)),
    )


def answers_of(texts: list[str], right: list[str], exact: list[int] | None = None) -> RecordValues:
    count = len(texts)
    answers = AnswerValues(
        exact=np.array(exact or [int(text == own) for text, own in zip(texts, right, strict=True)]),
        texts=tuple(texts),
        right=tuple(right),
        probability=np.full(count, 0.25),
        cut=0,
    )
    terms = np.arange(1, count + 1, dtype=float)
    return RecordValues(loss=terms * 0.5, terms=terms, token_hits=np.minimum(terms, 2.0), answers=answers)


def figures_of(values: RecordValues) -> dict[str, float]:
    whole = np.ones(len(values.loss))
    return {name: measure.of(whole) for name, measure in by_name(measures(values, "nats a token")[0]).items()}


def test_the_calibration_error_of_ten_records_is_what_a_hand_makes_of_them() -> None:
    # Bins (0.5, 0.6]: three at 0.6, two right: |2/3 - 0.6| = 1/15. (0.8, 0.9]: four at 0.9, two right: 0.4.
    # (0, 0.1]: three at 0.1, none right: 0.1. So (3/15 + 4 * 0.4 + 3 * 0.1) / 10 = 0.21.
    probability = np.array([0.6] * 3 + [0.9] * 4 + [0.1] * 3)
    right = np.array([1, 1, 0, 1, 1, 0, 0, 0, 0, 0], dtype=float)
    assert calibration_error(probability, right, np.ones(10)) == pytest.approx(0.21)
    assert calibration_error(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.ones(2)) == 0.0
    assert calibration_error(np.array([0.0, 1.0]), np.array([1.0, 0.0]), np.ones(2)) == 1.0
    assert np.isnan(calibration_error(probability, right, np.zeros(10)))


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(0, 3)), min_size=1).filter(
        lambda rows: any(count for *_, count in rows)
    )
)
def test_a_record_that_counts_twice_is_two_records(rows: list[tuple[float, bool, int]]) -> None:
    probability, right, counts = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    places = np.repeat(np.arange(len(rows)), counts.astype(int))
    for score in (calibration_error, brier_score):
        repeated = score(probability[places], right[places], np.ones(len(places)))
        assert score(probability, right, counts) == pytest.approx(repeated, abs=1e-12)
    assert brier_score(probability, right, counts) == pytest.approx(
        brier_score_loss(right.astype(int), probability, sample_weight=counts, labels=[0, 1]), abs=1e-12
    )
    assert 0 <= calibration_error(probability, right, counts) <= 1


def test_classes_are_judged_as_scikit_learn_does() -> None:
    right, likeliest = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]
    found = figures_of(classes_of(right, likeliest, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]))
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["macro_f1"] == pytest.approx(f1_score(right, likeliest, average="macro"))
    assert found["loss"] == pytest.approx(np.linspace(0.1, 2.0, 6).mean())
    assert "perplexity" not in found


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 2)), min_size=1).filter(
        lambda rows: any(count for *_, count in rows)
    )
)
def test_and_so_are_samples_of_records_with_answers_that_are_none(rows: list[tuple[int, int, int]]) -> None:
    right, said, counts = (np.array(column) for column in zip(*rows, strict=True))
    counted = counts > 0
    expected = f1_score(
        right[counted],
        said[counted],
        labels=range(4),
        average="macro",
        sample_weight=counts[counted],
        zero_division=np.nan,
    )
    found = _macro_f1(right, said, 4, "classes").of(counts.astype(float))
    assert found == pytest.approx(expected, nan_ok=True)


def test_a_class_that_nobody_asked_for_and_nobody_said_is_in_no_mean() -> None:
    right, likeliest = [0, 0, 1, 1], [0, 1, 1, 1]
    found = figures_of(classes_of(right, likeliest, [0.5] * 4))
    assert found["macro_f1"] == pytest.approx(f1_score(right, likeliest, average="macro"))


texts = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)


@settings(max_examples=25)
@given(st.lists(st.tuples(texts, texts.filter(bool), st.integers(0, 2)), min_size=2, max_size=12))
def test_texts_are_judged_together_as_sacrebleu_does(rows: list[tuple[str, str, int]]) -> None:
    rows[0] = (*rows[0][:2], 1)
    said, right = [row[0] for row in rows], [row[1] for row in rows]
    weights = np.array([row[2] for row in rows], dtype=float)
    places = np.repeat(np.arange(len(rows)), weights.astype(int))
    found = by_name(measures(answers_of(said, right), "nats a token")[0])
    repeated = ([said[place] for place in places], [[right[place] for place in places]])
    assert found["bleu"].of(weights) == pytest.approx(corpus_bleu(*repeated).score / 100)
    assert found["chrf"].of(weights) == pytest.approx(corpus_chrf(*repeated).score / 100)


def test_losses_and_tokens_are_counted_by_token_and_perplexity_is_of_the_loss() -> None:
    found = figures_of(answers_of(["a b"] * 4, ["a b", "c d", "e f", "g h"]))
    assert found["loss"] == 0.5
    assert found["perplexity"] == pytest.approx(np.exp(0.5))
    assert found["token_accuracy"] == pytest.approx((1 + 2 + 2 + 2) / 10)
    assert found["exact_match"] == 0.25
    assert "macro_f1" not in found, "four answers to four records are no classes"


def test_few_right_answers_are_classes_and_another_answer_is_a_miss() -> None:
    right = ["cardiology", "oncology"] * 3
    said = ["cardiology", "oncology", "cardiology", "cardiology", "none of them", "oncology"]
    found = figures_of(answers_of(said, right))
    labels = ["cardiology", "oncology"]
    assert found["macro_f1"] == pytest.approx(f1_score(right, said, labels=labels, average="macro", zero_division=0))


def test_a_loss_that_is_no_number_is_none_and_nothing_fails(few_samples) -> None:
    values = classes_of([0, 1], [0, 1], [0.5, 0.5])
    values.loss[0] = np.inf
    pair = ModelPair(measures(values, "")[0], measures(values, "")[0], np.arange(2))
    found = {figure.name: figure for figure in estimated(pair, np.arange(2))}
    assert found["loss"].adapter.value is None
    assert found["accuracy"].adapter.value == 1.0


def test_without_its_package_a_figure_is_left_out_and_the_others_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("sacrebleu.metrics", "rouge_score.rouge_scorer"):
        monkeypatch.setitem(sys.modules, module, None)
    found, missing = measures(answers_of(["a", "b"] * 3, ["a", "b"] * 3), "nats a token")
    told = {"loss", "perplexity", "token_accuracy", "exact_match", "macro_f1", "calibration_error", "brier_score"}
    assert set(by_name(found)) == told
    assert [sentence.partition(" needs")[0] for sentence in missing] == ["BLEU", "chrF", "ROUGE-L"]


def pair_of(adapter: RecordValues, base: RecordValues, owners: list[int] | None = None) -> ModelPair:
    count = len(adapter.loss)
    return ModelPair(measures(adapter, "")[0], measures(base, "")[0], np.array(owners or range(count)))


def test_shares_have_wilson_s_interval_and_differences_are_drawn_in_pairs() -> None:
    right = [0, 1, 2] * 10
    adapter, base = classes_of(right, right[:20] + [0] * 10, [0.5] * 30), classes_of(right, [0] * 30, [0.5] * 30)
    found = {figure.name: figure for figure in estimated(pair_of(adapter, base), np.arange(30))}
    accuracy = found["accuracy"]
    assert (accuracy.interval, found["loss"].interval) == ("wilson", "bootstrap")
    assert (accuracy.adapter.low, accuracy.adapter.high) == share_interval([23 / 30], [30])
    assert accuracy.difference.value == pytest.approx(23 / 30 - 10 / 30)
    assert 0 < accuracy.difference.low < accuracy.difference.value < accuracy.difference.high
    assert accuracy.differs
    # The same losses of both models: no interval of the difference, however wide each one's is.
    assert (found["loss"].difference.low, found["loss"].difference.high) == (0.0, 0.0)
    assert found["loss"].adapter.low < found["loss"].adapter.value < found["loss"].adapter.high
    assert not found["loss"].differs


def test_an_interval_is_the_same_again_and_that_of_a_mean_is_about_what_theory_says() -> None:
    values = RecordValues(loss=np.linspace(0.1, 2.0, 200), terms=np.ones(200))
    first, again = (estimated(pair_of(values, values), np.arange(200))[0].adapter for _ in range(2))
    assert first == again
    expected = 1.96 * values.loss.std() / np.sqrt(200)
    assert (first.high - first.low) / 2 == pytest.approx(expected, rel=0.1)


def test_records_of_one_person_are_drawn_together(few_samples) -> None:
    owners = np.repeat(np.arange(5), 4)
    for weights in resampled(owners):
        assert all(len(set(weights[owners == person])) == 1 for person in range(5))
        assert weights.sum() == 20
    values = classes_of([0] * 20, [0] * 8 + [1] * 12, [0.5] * 20)
    accuracy = estimated(pair_of(values, values, owners.tolist()), np.arange(20))[1]
    assert accuracy.interval == "bootstrap"
    low, high = share_interval([8 / 20], [20])
    assert accuracy.adapter.high - accuracy.adapter.low > high - low


def test_one_record_has_no_interval(few_samples) -> None:
    values = classes_of([0], [0], [0.5])
    loss = estimated(pair_of(values, values), np.arange(1))[0]
    assert (loss.adapter.value, loss.adapter.low, loss.difference.high) == (pytest.approx(0.1), None, None)
    assert percentile_interval(np.full(40, np.nan)) is None


def test_groups_have_figures_of_their_own_and_few_records_stand_together(few_samples) -> None:
    columns = ["f"] * 20 + ["m"] * 12 + ["x"] * 6 + ["y"] * 5
    right = [0] * 43
    likeliest = [0] * 20 + [1] * 12 + [0] * 11
    values = classes_of(right, likeliest, [0.5] * 43)
    found = by_column(pair_of(values, values), "sex", columns)
    assert [(group.value, group.records) for group in found.groups] == [("f", 20), ("m", 12), ("(fewer than 10)", 11)]
    accuracies = [group.figures[1].adapter.value for group in found.groups]
    assert accuracies == [1.0, 0.0, 1.0]
    spread = next(each for each in found.spreads if each.name == "accuracy")
    assert (spread.largest, spread.smallest, spread.difference, spread.within_intervals) == ("f", "m", 1.0, False)
    alone = estimated(pair_of(*[classes_of(right[:20], likeliest[:20], [0.5] * 20)] * 2), np.arange(20))
    assert found.groups[0].figures[1] == alone[1]


def test_few_records_that_stay_few_have_no_figures_and_no_difference_is_made_of_one_group(few_samples) -> None:
    values = classes_of([0] * 24, [0] * 24, [0.5] * 24)
    found = by_column(pair_of(values, values), "ward", ["a"] * 15 + ["b"] * 9)
    assert [(group.value, group.records, len(group.figures)) for group in found.groups] == [
        ("a", 15, 5),
        ("(fewer than 10)", 9, 0),
    ]
    assert found.spreads == ()


def test_groups_that_chance_alone_may_tell_apart_are_said_to_be_so(few_samples) -> None:
    values = classes_of([0] * 24, [0] * 11 + [1] + [0] * 10 + [1] * 2, [0.5] * 24)
    found = by_column(pair_of(values, values), "ward", ["a"] * 12 + ["b"] * 12)
    spread = next(each for each in found.spreads if each.name == "accuracy")
    assert spread.difference == pytest.approx(1 / 12)
    assert spread.within_intervals
    equal = next(each for each in found.spreads if each.name == "brier_score")
    assert (equal.largest, equal.smallest, equal.difference) == ("a", "b", 0.0)
