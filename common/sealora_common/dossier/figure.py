"""A figure of a dossier, and where it comes from: whoever doubts it opens that file and looks at that field."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Scalar = bool | int | FiniteFloat | str | None
Value = Scalar | tuple[Scalar, ...]
"""What a figure can be: text, a number, yes or no, or several of them."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
MOMENT = "seconds since 1970, UTC"
"""The unit of a figure that is a time, which people are shown as a date."""
EVIDENCE = "evidence"
"""The folder of a part in which copies of the files lie that its figures come from."""


class DossierModel(BaseModel):
    """Base of what a dossier's JSON holds. Another version's is refused by its unknown field."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Source(DossierModel):
    """Where a figure is read from."""

    file: str
    """A copy in the dossier (`evidence/...`), or the name of a file that stays where it is."""
    sha256: Sha256
    """Of the file."""
    field: str
    """`/a/b` in JSON (RFC 6901), `7:/a/b` in line 7 of lines of JSON, `a.b` in YAML; else how it was worked out."""


class Figure(DossierModel):
    """One thing that the dossier says, with all that is needed to read it."""

    name: str
    value: Value
    unit: str = ""
    noise: str = ""
    """What noise the figure carries; empty where there is nothing of a record in it."""
    source: Source


class DossierSection(DossierModel):
    """One subject of the dossier."""

    identifier: Annotated[str, Field(pattern=r"^[a-z]+$")]
    title: str
    text: tuple[str, ...] = ()
    """Plain sentences, one a paragraph. They hold no figure that stands in no file."""
    figures: tuple[Figure, ...] = ()
