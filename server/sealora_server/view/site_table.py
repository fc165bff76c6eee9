"""The report's table of sites: every cell as text, so that a phone can show a row as a card."""

from __future__ import annotations

from dataclasses import dataclass

from sealora_common.show.quantities import MISSING, bytes_text, epsilon_text, target_text
from sealora_server.view.summary import SiteSummary, Summary


@dataclass(frozen=True, slots=True)
class SiteTable:
    """Cells by row; each row has one for every head."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """A site's name and its cells."""
    federation: tuple[str, ...]
    """Of all sites together; empty where there is no such figure."""


def site_table(summary: Summary) -> SiteTable:
    """The table of a run."""
    figure = summary.heldout.short.capitalize()
    alone = ("Alone",) if any(site.heldout_loss_alone is not None for site in summary.sites) else ()
    before, after = (summary.heldout.text(each) for each in (summary.heldout_loss_before, summary.heldout_loss_after))
    promised = ("≤ " + target_text(each) if summary.is_private else "none" for each in (summary.epsilon, summary.delta))
    return SiteTable(
        heads=(
            f"{figure} before",
            *alone,
            f"{figure} after",
            "Epsilon",
            "Delta",
            "Records",
            "Held-out",
            "Truncated",
            "Sent",
            "Received",
        ),
        rows=tuple((site.name, _cells(site, summary, has_alone=bool(alone))) for site in summary.sites),
        federation=(
            before,
            *("" for _ in alone),
            after,
            *promised,
            "",
            "",
            "",
            bytes_text(summary.bytes_up),
            bytes_text(summary.bytes_down),
        ),
    )


def _cells(site: SiteSummary, summary: Summary, *, has_alone: bool) -> tuple[str, ...]:
    return (
        summary.heldout.text(site.heldout_loss_before),
        *((summary.heldout.text(site.heldout_loss_alone),) if has_alone else ()),
        summary.heldout.text(site.heldout_loss_after),
        epsilon_text(site.epsilon),
        target_text(site.delta),
        *(MISSING if count is None else str(count) for count in (site.records, site.heldout_records, site.truncated)),
        bytes_text(site.bytes_up),
        bytes_text(site.bytes_down),
    )
