"""The federation's figure never stands without its noise, and a change that noise makes is not told as learning."""

from __future__ import annotations

import math

import pytest

from sealora_common.records.events import RunStarted
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.records.run_state import RunState
from sealora_common.records.site_rounds import SiteHistory, SiteRound
from sealora_server.view.told_figure_text import (
    FigureNoise,
    noise_of_mean,
    told_change_text,
    told_name,
    told_text,
)

SHARE = HeldoutFigure(name="held-out exact match", unit="share of records", better="higher")


def state_of(figure: HeldoutFigure = SHARE, *, mechanism: str = "local", **fields: object) -> RunState:
    started = RunStarted(
        name="r", run_id="i", rounds=3, recipe_hash="ab", epsilon=8.0, delta=1e-5, mechanism=mechanism, heldout=figure
    )
    return RunState(started=started.model_copy(update=fields))


def history(units: int, persons: int | None = None) -> SiteHistory:
    line = SiteRound(round=1, kind="train", heldout_records=units)
    return SiteHistory("a", (line if persons is None else line.of_persons(100, persons),))


def test_where_sites_tell_their_units_the_noise_is_exact() -> None:
    state = state_of(heldout_noise=3.0, heldout_noise_least=3 / 80)
    noise = noise_of_mean(state, {"a": history(60), "b": history(80)}, 2)
    assert noise == FigureNoise(pytest.approx(math.sqrt((3 / 60) ** 2 + (3 / 80) ** 2) / 2), is_least=False)
    assert told_text(0.712, noise, state) == "71.2 % (noise +-3.1 %)"


def test_of_some_sites_alone_the_noise_of_all_is_not_exact() -> None:
    state = state_of(heldout_noise=3.0, heldout_noise_least=3 / 80)
    for histories in ({"a": history(60)}, {"a": history(60), "b": SiteHistory("b", ())}):
        noise = noise_of_mean(state, histories, 2)
        assert noise == FigureNoise(pytest.approx(3 / 80 / math.sqrt(2)), is_least=True)


def test_persons_count_where_there_are_any() -> None:
    noise = noise_of_mean(state_of(heldout_noise=3.0), {"a": history(60, persons=20)}, 1)
    assert noise == FigureNoise(pytest.approx(3 / 20), is_least=False)


def test_a_server_alone_knows_the_least_that_it_can_be() -> None:
    state = state_of(HeldoutFigure(), heldout_noise=24.0, heldout_noise_least=24 / 50)
    noise = noise_of_mean(state, {}, 4)
    assert noise == FigureNoise(pytest.approx(24 / 50 / 2), is_least=True)
    assert told_text(2.664, noise, state) == "2.664 (noise +-0.24 or more)"


@pytest.mark.parametrize("fields", [{}, {"heldout_noise": 0.0, "heldout_noise_least": 0.1}, {"heldout_noise": 3.0}])
def test_without_noise_or_knowledge_of_it_the_figure_stands_alone(fields: dict[str, float]) -> None:
    state = state_of(**fields)
    assert noise_of_mean(state, {}, 3) is None
    assert told_text(0.5, None, state) == "50.0 %"


def test_no_sites_have_no_noise() -> None:
    assert noise_of_mean(state_of(heldout_noise=3.0, heldout_noise_least=0.3), {}, 0) is None


@pytest.mark.parametrize(
    ("after", "told"), [(2.0 + 0.28, "noise"), (2.0 + 0.29, "+14.5 %"), (1.70, "-15.0 %"), (1.73, "noise")]
)
def test_a_change_that_noise_makes_is_no_percentage(after: float, told: str) -> None:
    noise = FigureNoise(0.1, is_least=False)
    assert told in told_change_text(2.0, after, noise, state_of(HeldoutFigure()))


def test_points_of_a_share_are_no_percentage_of_it() -> None:
    assert told_change_text(0.1, 0.7, FigureNoise(0.01, is_least=False), state_of()) == ""
    assert told_change_text(0.0, 0.0, None, state_of(HeldoutFigure())) == ""


def test_its_name_says_what_was_done_to_it() -> None:
    assert told_name(state_of(HeldoutFigure(), heldout_clip=8.0)) == "noisy held-out loss, clipped to 8,"
    assert told_name(state_of()) == "noisy held-out exact match"
    assert told_name(state_of(HeldoutFigure(), mechanism="none")) == "held-out loss"
