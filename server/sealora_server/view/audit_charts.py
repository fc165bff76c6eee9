"""Geometry of the audit report's charts: figures in, coordinates out, drawn by the run report's template."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sealora_common.records.audits import RocSummary
from sealora_common.show.chart import HEIGHT, WIDTH, Bar, Chart, Line, Mark
from sealora_common.show.quantities import epsilon_text
from sealora_server.view.audit_summary import AuditSummary, allowed_rate

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, WIDTH - 24, 18, HEIGHT - 40
_DECADES = 3  # the curves' axes begin at one in a thousand
_BAR = 64.0

Curve = Sequence[tuple[float, float]]


def bounds_chart(summary: AuditSummary) -> Chart:
    """The adversaries' lower bounds on epsilon, and what perfect guesses would prove, against the claim."""
    trial = summary.trial
    amounts = [(found.adversary, found.lower_bound) for found in trial.adversaries]
    amounts.append(("perfect guesses", trial.largest_bound))
    highest = max([amount for _, amount in amounts] + [trial.claim or 0.0])
    step = _step(highest)
    ticks = [step * number for number in range(math.ceil(highest / step) + 1)]

    def up(epsilon: float) -> float:
        return _BOTTOM - epsilon / (ticks[-1] or 1.0) * (_BOTTOM - _TOP)

    slot = (_RIGHT - _LEFT) / len(amounts)
    middles = [_LEFT + slot * (place + 0.5) for place in range(len(amounts))]
    bars = tuple(
        Bar(
            middle - _BAR / 2,
            up(amount),
            _BAR,
            _BOTTOM - up(amount),
            "up" if place < len(trial.adversaries) else "down",
            f"{name}: {amount:.2f}",
        )
        for place, (middle, (name, amount)) in enumerate(zip(middles, amounts, strict=True))
    )
    lines: tuple[Line, ...] = ()
    notes: tuple[Mark, ...] = ()
    if trial.claim is not None:
        said = f"claimed {epsilon_text(trial.claim)}"
        lines = (Line(said, "bound", f"M{_LEFT} {up(trial.claim):.1f}H{_RIGHT}", ()),)
        notes = (Mark(_LEFT + 6, up(trial.claim) - 6, said),)
    told = ", ".join(f"{name} {amount:.2f}" for name, amount in amounts)
    return Chart(
        identifier="bounds",
        title="Epsilon proved and epsilon claimed",
        description=f"Lower bounds on epsilon at 95 % confidence: {told}; "
        + ("no claim." if trial.claim is None else f"the claim is {epsilon_text(trial.claim)}."),
        x_title="",
        x_ticks=tuple(Mark(middle, _BOTTOM + 16, name) for middle, (name, _) in zip(middles, amounts, strict=True)),
        y_ticks=tuple(Mark(_LEFT - 8, up(tick), f"{tick:g}") for tick in ticks),
        lines=lines,
        bars=bars,
        notes=notes,
        left=_LEFT,
        right=_RIGHT,
        bottom=_BOTTOM,
    )


def roc_chart(summary: AuditSummary) -> Chart:
    """True against false positives of every attack, both on logarithmic axes, and the most that the claim allows."""
    attacks = [(f"{found.adversary} on canaries", found.roc) for found in summary.trial.adversaries]
    attacks.append(("loss threshold on records", summary.membership))
    lines = [Line(name, f"site-{place}", _path(_seen(roc)), ()) for place, (name, roc) in enumerate(attacks)]
    grid = [10 ** (-_DECADES + tenth / 10) for tenth in range(10 * _DECADES + 1)]
    lines.insert(0, Line("chance", "many", _path([(rate, rate) for rate in grid]), ()))
    if summary.trial.claim is not None:
        limit = [(rate, allowed_rate(rate, summary.trial.claim, summary.delta)) for rate in grid]
        lines.insert(0, Line("most that the claim allows", "bound", _path(limit), ()))
    told = ", ".join(f"{name} {roc.auc:.3f}" for name, roc in attacks)
    marks = [10.0**-decade for decade in range(_DECADES, -1, -1)]
    return Chart(
        identifier="roc",
        title="True positives against false positives",
        description=f"Areas under the curves: {told}; 0.5 is chance.",
        x_title="false positive rate",
        x_ticks=tuple(Mark(_across(rate), _BOTTOM + 16, _percent(rate)) for rate in marks),
        y_ticks=tuple(Mark(_LEFT - 8, _up(rate), _percent(rate)) for rate in marks),
        lines=tuple(lines),
        left=_LEFT,
        right=_RIGHT,
        bottom=_BOTTOM,
    )


def _seen(roc: RocSummary) -> Curve:
    """The curve from one false positive on: left of it, it is known too badly to be drawn."""
    return [point for point in roc.curve if point[0] * roc.non_members >= 1]


def _path(curve: Curve) -> str:
    """What lies below the axes is drawn at their edge."""
    return "M" + "L".join(f"{_across(false):.1f} {_up(true):.1f}" for false, true in curve)


def _across(rate: float) -> float:
    return _LEFT + _place(rate) * (_RIGHT - _LEFT)


def _up(rate: float) -> float:
    return _BOTTOM - _place(rate) * (_BOTTOM - _TOP)


def _place(rate: float) -> float:
    """0 at the axis's beginning, 1 at a rate of one."""
    return max(0.0, 1 + math.log10(rate) / _DECADES) if rate > 0 else 0.0


def _percent(rate: float) -> str:
    return f"{100 * rate:g} %"


def _step(highest: float) -> float:
    """A round number that divides the axis into three to seven."""
    rough = max(highest, 1e-9) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(nice * power for nice in (1, 2, 5, 10) if nice * power >= rough * 0.999)
