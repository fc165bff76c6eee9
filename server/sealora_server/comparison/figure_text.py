"""Held-out figures and their differences as every page of a comparison writes them."""

from __future__ import annotations

from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_server.view.quantities import MISSING


def figure_text(heldout: HeldoutFigure, value: float | None) -> str:
    """`3.214` of a loss, `74.2 %` of a share; a dash where there is none."""
    if value is None:
        return MISSING
    return f"{value:.3f}" if heldout.is_loss else f"{100 * value:.1f} %"


def difference_text(heldout: HeldoutFigure, value: float, *, signed: bool = True) -> str:
    """`-0.213 nats a token` of losses, `+4.2 points` of shares."""
    sign = "+" if signed else ""
    return f"{value:{sign}.3f} {heldout.unit}" if heldout.is_loss else f"{100 * value:{sign}.1f} points"


def range_text(heldout: HeldoutFigure, interval: tuple[float, float] | None) -> str:
    """`68.1 % to 79.5 %`."""
    return MISSING if interval is None else " to ".join(figure_text(heldout, end) for end in interval)


def share_of_way_text(share: float) -> str:
    """`87 %`, of a way that may be overshot or walked backwards."""
    return f"{100 * share:.0f} %"
