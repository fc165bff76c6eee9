"""A site's part of a dossier: what it says of its own data and its own ledger, exactly. Nobody else writes it.

EXACT: the figures carry no noise. The part goes to those whom the site gives it to; the server's part names it by the
hash of its signed manifest, and holds nothing of it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sealora_common.config import Name
from sealora_common.dossier.clearance import Clearance
from sealora_common.dossier.figure import DossierModel, DossierSection, Sha256

PART = "part.json"
PART_PAGE = "part.html"
PART_PDF = "part.pdf"


class SitePart(DossierModel):
    """`part.json`."""

    clearance: Clearance
    """First, so that it is read first."""
    version: Literal[1] = 1
    salt: Sha256
    """Random, so that the hash of this file tells nobody its figures by trial."""
    site: Name
    run: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    recipe_hash: Sha256
    created: str
    """UTC, ISO 8601."""
    release: str
    """Of Sealora, which wrote it."""
    sections: tuple[DossierSection, ...]
