"""The server's part as one HTML page that needs nothing but itself: no network, no script."""

from __future__ import annotations

from sealora_common.dossier.server_part import Dossier
from sealora_common.dossier.writing import figure_text
from sealora_common.show.pages import page_templates


def dossier_page(dossier: Dossier, fingerprint: str, coordinator: str) -> str:
    """The page.

    Args:
        dossier: what it shows.
        fingerprint: of the server's key, which signs it.
        coordinator: the fingerprint of the key that signs the roster.
    """
    pages = page_templates("sealora_server.dossier")
    pages.globals["figure_text"] = figure_text
    titles = {section.identifier: section.title for section in dossier.sections}
    titles |= {"parts": "The sites' parts", "sbom": "What was installed (sbom.cdx.json)"}
    return pages.get_template("dossier.html.j2").render(
        dossier=dossier, fingerprint=fingerprint, coordinator=coordinator, titles=titles
    )
