"""Shares, differences and rates of a memorisation test as its page and its table write them."""

from __future__ import annotations

from sealora_common.show.quantities import MISSING
from sealora_server.memorisation.findings import ExposureFound, ExtractionFound, MembershipFound, ShareFound

ATTACKS = {
    "told": "told by name",
    "continued": "ended to the letter",
    "ranked first": "the likeliest",
}
"""What each attack is called, as docs/memorisation.md does."""


def share_text(found: ShareFound) -> str:
    """`12 of 48`."""
    return f"{found.found} of {found.of}"


def share_range_text(found: ShareFound) -> str:
    """`25.0 % (14.9 to 38.8)`."""
    return f"{100 * found.share:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"


def more_text(found: ExtractionFound) -> str:
    """`+25.0 (+12.1 to +38.8)`, in points."""
    return f"{100 * found.more:+.1f} ({100 * found.more_low:+.1f} to {100 * found.more_high:+.1f})"


def bits_text(found: ExposureFound) -> str:
    """`+2.10 (+1.70 to +2.50)`, in bits."""
    return f"{found.more:+.2f} ({found.more_low:+.2f} to {found.more_high:+.2f})"


def auc_text(found: MembershipFound | None) -> str:
    """`0.712 (0.604 to 0.820)`."""
    if found is None:
        return MISSING
    low, high = found.auc_interval
    return f"{found.auc:.3f} ({low:.3f} to {high:.3f})"


def true_positives_text(found: MembershipFound | None) -> str:
    """`4.0 % (1.1 to 9.9)`; a dash with too few to tell."""
    if found is None or found.true_positive_rate is None or found.true_positive_interval is None:
        return MISSING
    low, high = found.true_positive_interval
    return f"{100 * found.true_positive_rate:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def allowed_text(share: float | None) -> str:
    """`3.1 %`; in words where the promise bounds nothing."""
    if share is None:
        return MISSING
    return "anything" if share >= 1 else f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.2f} %"
