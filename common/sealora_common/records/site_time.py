"""How long a site's part takes on this machine, as a trial of it shows: what the site tells `sealora plan`."""

from __future__ import annotations

from sealora_common.records.record import WrittenRecord


class SiteTime(WrittenRecord):
    """Expected seconds of one site's work, sealing and waiting left out."""

    site: str
    step: float
    """One step of training, its noise among it."""
    round: float
    """A whole round with an evaluation."""
    run: float
    """All rounds of the recipe, evaluations where it has them."""
