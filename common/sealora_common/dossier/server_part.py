"""The server's part of a dossier, `dossier.json`: what ran and what it promises. It holds no site's own figure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sealora_common.config import Name
from sealora_common.dossier.clearance import Clearance, Standing
from sealora_common.dossier.figure import DossierModel, DossierSection, Sha256

DOSSIER = "dossier.json"
DOSSIER_PAGE = "dossier.html"
DOSSIER_PDF = "dossier.pdf"
MODEL_CARD = "model-card/README.md"

Status = Literal["met", "in part", "not met"]


class AnsweredDemand(DossierModel):
    """One line of what a law, a guideline or a template asks for, and how far this dossier goes."""

    reference: str
    """Where it stands there; empty where it stands under no number."""
    demand: str
    """In our words."""
    status: Status
    where: tuple[str, ...]
    """Identifiers of the sections that answer it."""
    remark: str
    """What is missing; empty if nothing is."""


class Framework(DossierModel):
    """A document that a dossier is held against."""

    title: str
    about: str
    answers: tuple[AnsweredDemand, ...]


class AttachedPart(DossierModel):
    """A site of the roster, and whether its part is here. Of its figures nothing is."""

    site: Name
    attached: bool
    standing: Standing | None
    """What the site's part says in a word; null without one."""
    has_statement: bool
    has_audit: bool


class Dossier(DossierModel):
    """`dossier.json`."""

    clearance: Clearance
    """First, so that it is read first."""
    version: Literal[1] = 1
    name: str
    run: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    recipe_hash: Sha256
    created: str
    """UTC, ISO 8601."""
    release: str
    """Of Sealora, which wrote it."""
    sections: tuple[DossierSection, ...]
    frameworks: tuple[Framework, ...]
    parts: tuple[AttachedPart, ...]
