"""Differences and spreads of held-out figures as every page of a comparison writes them."""

from __future__ import annotations

from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.show.quantities import MISSING


def difference_text(heldout: HeldoutFigure, value: float, *, signed: bool = True) -> str:
    """`-0.213 nats a token` of losses, `+4.2 points` of shares."""
    return f"{_number(heldout, value, '+' if signed else '')} {_unit(heldout)}"


def reach_text(heldout: HeldoutFigure, reach: float, value: float | None = None) -> str:
    """`± 0.013 nats a token`; with a value `-0.213 ± 0.013 nats a token`."""
    before = "" if value is None else f"{_number(heldout, value, '+')} "
    return f"{before}± {difference_text(heldout, reach, signed=False)}"


def spread_text(heldout: HeldoutFigure, spread: float | None) -> str:
    """`± 0.013`, in a column that has the unit."""
    return MISSING if spread is None else f"± {_number(heldout, spread, '')}"


def _number(heldout: HeldoutFigure, value: float, sign: str) -> str:
    return f"{value:{sign}.3f}" if heldout.is_loss else f"{100 * value:{sign}.1f}"


def _unit(heldout: HeldoutFigure) -> str:
    return heldout.unit if heldout.is_loss else "points"


def share_of_way_text(share: float) -> str:
    """`87 %`, of a way that may be overshot or walked backwards."""
    return f"{100 * share:.0f} %"
