"""Geometry of the test's one picture: what was told of planted data and of others, under each arm."""

from __future__ import annotations

from sealora_common.show.chart import Bar, Chart, Line, Mark
from sealora_server.memorisation.findings import Memorisation, ShareFound

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 270, 64, 696, 18, 230
_BAR, _TICK = 64.0, 6.0


def told_chart(found: Memorisation) -> Chart:
    """Two bars an arm, planted and held back, each with its 95 % interval."""

    def up(share: float) -> float:
        return _BOTTOM - share * (_BOTTOM - _TOP)

    slot = (_RIGHT - _LEFT) / len(found.arms)
    bars, lines, ticks, words = list[Bar](), list[Line](), list[Mark](), list[str]()
    for place, arm in enumerate(found.arms):
        middle = _LEFT + slot * (place + 0.5)
        ticks.append(Mark(middle, _BOTTOM + 16, arm.title))
        for side, style, what, share in (
            (-1, "up", "planted", arm.told.planted),
            (1, "down", "never trained on", arm.told.held_back),
        ):
            x = middle + side * _BAR / 2
            words.append(f"{arm.title}, {what}: {_text(share)}")
            bars.append(Bar(x - _BAR / 2 + 1, up(share.share), _BAR - 2, _BOTTOM - up(share.share), style, words[-1]))
            ends = "".join(f"M{x - _TICK:.1f} {up(end):.1f}h{2 * _TICK:.1f}" for end in (share.low, share.high))
            lines.append(Line(words[-1], "bound", f"M{x:.1f} {up(share.low):.1f}V{up(share.high):.1f}{ends}", ()))
    return Chart(
        identifier="told",
        title="Personal data told to whoever asked by name",
        description="; ".join(words) + ".",
        x_title="",
        x_ticks=tuple(ticks),
        y_ticks=tuple(Mark(_LEFT - 8, up(tenth / 10), f"{10 * tenth} %") for tenth in range(0, 11, 2)),
        lines=tuple(lines),
        bars=tuple(bars),
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        bottom=_BOTTOM,
    )


def _text(share: ShareFound) -> str:
    return f"{100 * share.share:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"
