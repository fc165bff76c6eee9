"""What the pages call the figure that evaluations tell."""

from __future__ import annotations

from typing import get_args

import pytest

from sealora_common.recipe import parse_recipe
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


@pytest.mark.parametrize(
    ("overrides", "width"),
    [
        ([], 8.0),
        (["privacy.heldout_clip=3"], 3.0),
        (["objective.kind=kto_zero", "data.layout=feedback"], 1.0),
        (["objective.kind=kto_zero", "data.layout=feedback", "privacy.heldout_clip=0.5"], 0.5),
        ([*CLASSES, "evaluation.metric=accuracy"], 1.0),
        (CLASSES, 8.0),
    ],
)
def test_noise_is_that_of_the_values_there_can_be(overrides, width):
    recipe = parse_recipe(MINIMAL, overrides=overrides)
    assert HeldoutFigure.of(recipe).range_width(recipe) == width
