"""A site's part as one HTML page that needs nothing but itself: no network, no script."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from sealora_common.dossier.site_part import SitePart
from sealora_common.dossier.writing import figure_text


def part_page(part: SitePart, statement: str, fingerprint: str) -> str:
    """The page of a part.

    Args:
        part: what it shows.
        statement: the site's description of its data; empty if there is none.
        fingerprint: of the site's key.
    """
    pages = Environment(
        loader=PackageLoader("sealora_client.dossier", "templates"),
        autoescape=True,  # statements, audits and names are text that others wrote
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.globals["figure_text"] = figure_text
    return pages.get_template("part.html.j2").render(part=part, statement=statement, fingerprint=fingerprint)
