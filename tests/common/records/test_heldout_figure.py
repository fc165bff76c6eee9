"""What the pages call the figure that evaluations tell."""

from __future__ import annotations

from typing import get_args

import pytest

from sealora_common.recipe import parse_recipe
from sealora_common.recipe.sections.evaluation import MetricName
from sealora_common.recipe.sections.objective import ObjectiveName
from sealora_common.records.heldout_figure import _UNITS, HeldoutFigure

MINIMAL = "name: test\nrounds: 2\nmodel: {base: some/model}\n"
CLASSES = ["objective.kind=classification", "data.layout=labelled", "data.labels={a: x, b: y}"]


@pytest.mark.parametrize(
    ("overrides", "name", "unit", "better"),
    [
        ([], "held-out loss", "nats a token", "lower"),
        (["objective.kind=dpo", "data.layout=preference"], "held-out loss", "nats a pair", "lower"),
        (
            ["objective.kind=dpo", "objective.loss=ipo", "objective.beta=1", "data.layout=preference"],
            "held-out loss",
            "squared, a pair",
            "lower",
        ),
        (CLASSES, "held-out loss", "nats a record", "lower"),
        ([*CLASSES, "evaluation.metric=accuracy"], "held-out accuracy", "share of records", "higher"),
        (["evaluation.metric=exact_match"], "held-out exact match", "share of records", "higher"),
        (["evaluation.metric=token_accuracy"], "held-out token accuracy", "share of tokens", "higher"),
        (["evaluation.metric=bleu"], "held-out BLEU", "likeness of answers, mean over records", "higher"),
        (["evaluation.metric=chrf"], "held-out chrF", "likeness of answers, mean over records", "higher"),
        (["evaluation.metric=rouge_l"], "held-out ROUGE-L", "likeness of answers, mean over records", "higher"),
    ],
)
def test_it_follows_from_the_recipe(overrides, name, unit, better):
    figure = HeldoutFigure.of(parse_recipe(MINIMAL, overrides=overrides))
    assert (figure.name, figure.unit, figure.better) == (name, unit, better)
    assert figure.is_loss == (better == "lower")


def test_an_older_log_means_the_loss_in_nats_a_token():
    assert HeldoutFigure() == HeldoutFigure.of(parse_recipe(MINIMAL))


def test_every_objective_has_a_unit():
    assert set(_UNITS) == set(get_args(ObjectiveName))


def test_as_headings_and_columns_have_it():
    assert HeldoutFigure().title == "Held-out loss"
    assert HeldoutFigure().short == "loss"
    assert HeldoutFigure(name="held-out exact match").short == "exact match"


def test_a_share_is_written_in_percent_and_a_loss_is_not():
    share = HeldoutFigure(name="held-out accuracy", unit="share of records", better="higher")
    assert (share.text(0.7424), share.text(0.0), share.text(1.0), share.text(None)) == (
        "74.2 %",
        "0.0 %",
        "100.0 %",
        "-",
    )
    assert (HeldoutFigure().text(2.6641), HeldoutFigure().text(None)) == ("2.664", "-")
    assert share.range_text(0.681, 0.795) == "68.1 to 79.5 %"


@pytest.mark.parametrize("metric", get_args(MetricName))
def test_only_exact_match_says_of_one_answer_that_it_is_right(metric):
    classes = CLASSES if metric == "accuracy" else []
    figure = HeldoutFigure.of(parse_recipe(MINIMAL, overrides=[*classes, f"evaluation.metric={metric}"]))
    assert figure.judges_answers == (metric == "exact_match")


@pytest.mark.parametrize(
    ("overrides", "width"),
    [
        ([], 8.0),
        (["privacy.heldout_clip=3"], 3.0),
        (["objective.kind=kto_zero", "data.layout=feedback"], 1.0),
        (["objective.kind=kto_zero", "data.layout=feedback", "privacy.heldout_clip=0.5"], 0.5),
        ([*CLASSES, "evaluation.metric=accuracy"], 1.0),
        (["evaluation.metric=exact_match", "privacy.heldout_clip=0.5"], 1.0),
        (["evaluation.metric=token_accuracy"], 1.0),
        (["evaluation.metric=bleu", "privacy.heldout_clip=0.5"], 1.0),
        (["evaluation.metric=chrf", "privacy.heldout_clip=20"], 1.0),
        (["evaluation.metric=rouge_l"], 1.0),
        (CLASSES, 8.0),
    ],
)
def test_noise_is_that_of_the_values_there_can_be(overrides, width):
    recipe = parse_recipe(MINIMAL, overrides=overrides)
    assert HeldoutFigure.of(recipe).range_width(recipe) == width
