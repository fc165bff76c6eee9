"""Geometry of a tuning's one picture: a dot for each trial's figure, and the best so far as a line."""

from __future__ import annotations

from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.show.chart import Chart, Line, Mark, scale, ticks_around
from sealora_server.tuning.result import TuningResult

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 300, 64, 700, 18, 40
_MOST_MARKS = 12


def trials_chart(found: TuningResult) -> Chart | None:
    """The chart; None if no trial has a figure."""
    done = [(trial.number, trial.figure) for trial in found.trials if trial.figure is not None]
    if not done:
        return None
    heldout, last = found.heldout, max(trial.number for trial in found.trials)
    y_values = ticks_around(min(figure for _, figure in done), max(figure for _, figure in done), 6)
    across, up = scale(0, last + 1, _LEFT, _RIGHT), scale(y_values[0], y_values[-1], _HEIGHT - _BOTTOM, _TOP)
    best = _best_so_far(done, heldout)
    path = f"M{across(best[0][0]):.1f} {up(best[0][1]):.1f}"
    path += "".join(f"H{across(number):.1f}V{up(figure):.1f}" for number, figure in best[1:])
    path += f"H{across(last):.1f}"
    dots = tuple(Mark(across(n), up(figure), f"trial {n}: {heldout.text(figure)}") for n, figure in done)
    every = -(-last // _MOST_MARKS)
    return Chart(
        identifier="trials",
        title=f"{heldout.title} by trial, {heldout.better} is better",
        description=f"{heldout.title} in {heldout.unit}: "
        + "; ".join(f"trial {number} {heldout.text(figure)}" for number, figure in done),
        x_title="trial",
        x_ticks=tuple(Mark(across(n), _HEIGHT - _BOTTOM + 16, str(n)) for n in range(1, last + 1, every)),
        y_ticks=tuple(Mark(_LEFT - 8, up(tick), _tick_text(tick, heldout)) for tick in y_values),
        lines=(Line("best so far", "federation", path, ()), Line("trials", "site-0", "", dots)),
        begins_at_zero=y_values[0] == 0,
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        bottom=_HEIGHT - _BOTTOM,
    )


def _best_so_far(done: list[tuple[int, float]], heldout: HeldoutFigure) -> list[tuple[int, float]]:
    choose = min if heldout.is_loss else max
    found: list[tuple[int, float]] = []
    for number, figure in done:
        found.append((number, choose(figure, found[-1][1]) if found else figure))
    return found


def _tick_text(tick: float, heldout: HeldoutFigure) -> str:
    return f"{tick:g}" if heldout.is_loss else f"{100 * tick:g} %"
