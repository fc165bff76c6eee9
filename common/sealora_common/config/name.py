"""What a site, a recipe or a run may be called: it is a part of file names, addresses and lines that people read."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9-]{0,62}$"
"""Up to 63 lower-case letters, digits and dashes, no dash first: a label of the domain name system (RFC 1035)."""

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
