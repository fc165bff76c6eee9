"""A site's part as one HTML page that needs nothing but itself: no network, no script."""

from __future__ import annotations

from sealora_common.dossier.site_part import SitePart
from sealora_common.dossier.writing import figure_text
from sealora_common.show.pages import page_templates


def part_page(part: SitePart, statement: str, fingerprint: str) -> str:
    """The page of a part.

    Args:
        part: what it shows.
        statement: the site's description of its data; empty if there is none.
        fingerprint: of the site's key.
    """
    pages = page_templates("sealora_client.dossier")
    pages.globals["figure_text"] = figure_text
    return pages.get_template("part.html.j2").render(part=part, statement=statement, fingerprint=fingerprint)
