"""One record of a site, as text: what every format makes, and the only form in which the rest of the site knows it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Record:
    """One record of the site, as text.

    Attributes:
        prompt: what the model is given.
        response: what it is to say.
        person: whose record it is, if the recipe names a field for that.
        line: where it stands in its file, for messages; equal records may stand anywhere.
    """

    prompt: str
    response: str
    person: str | None = None
    line: int = field(default=0, compare=False)

    @property
    def texts(self) -> tuple[str, str]:
        """All its text: what it is told apart from others by, named in the ledger by, and split by."""
        return self.prompt, self.response
