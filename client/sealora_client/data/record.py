"""One record of a site, as text: what every layout makes, and the only form in which the rest of the site knows it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

Role = Literal["system", "user", "assistant"]
AgainstRecipe = Literal["prompt_template", "unnamed"]
"""Why a recipe's own rules leave nothing of a record to show. `prompt_template`: it fails on the record, or makes
nothing of it. `unnamed`: its label is none that the recipe names."""


@dataclass(frozen=True)
class Turn:
    """What one side says in a conversation.

    Attributes:
        role: whose turn it is.
        text: what is said.
        learned: whether the model is to learn to say it; the assistant's alone.
    """

    role: Role
    text: str
    learned: bool = False


@dataclass(frozen=True)
class Record:
    """One record of the site, as text: what is said at the end of a conversation, which mostly has no more than that.

    Attributes:
        prompt: what the model is given; empty for a text that stands by itself, answering nothing.
        response: what it is to say, or the text that stands by itself.
        person: whose record it is, if the recipe names a field for that.
        line: where it stands in its file, for messages; equal records may stand anywhere.
        earlier: turns before the prompt: the system's if the record brings one, then the user's and the assistant's
            by turns.
        rejected: a response that is worse than `response`, where records are preferences.
        wanted: whether the response is one to learn or one to avoid, where records are feedback.
        task: what it is weighed by, if the recipe names a field for that; no part of what it is known by.
        unusable: why it is only a placeholder for what the recipe makes nothing of, if it is. A recipe is written by
            others: were a site refused for it, whether it takes part would tell of a record.
        row: digest of all that its file says of it, see `digest_of_row`; empty if it is of no file.
    """

    prompt: str
    response: str
    person: str | None = None
    line: int = field(default=0, compare=False)
    earlier: tuple[Turn, ...] = ()
    rejected: str | None = None
    wanted: bool | None = None
    task: str | None = None
    row: bytes = field(default=b"", compare=False, repr=False)
    unusable: AgainstRecipe | None = field(default=None, compare=False)

    @property
    def texts(self) -> tuple[str, ...]:
        """All its text, in order: what it is told apart from others by, named in the ledger by, and split by."""
        before = tuple(turn.text for turn in self.earlier)
        after = () if self.rejected is None else (self.rejected,)
        verdict = () if self.wanted is None else ("wanted" if self.wanted else "unwanted",)
        return (*before, self.prompt, self.response, *after, *verdict)

    @property
    def given(self) -> tuple[str, ...]:
        """All its text before the response."""
        return (*(turn.text for turn in self.earlier), self.prompt)

    @property
    def system(self) -> str | None:
        """The system's text if the record brings one of its own."""
        return next((turn.text for turn in self.earlier[:1] if turn.role == "system"), None)

    @property
    def exchanges(self) -> tuple[Turn, ...]:
        """The earlier turns without the system's."""
        return self.earlier if self.system is None else self.earlier[1:]

    def trimmed(self) -> Record:
        """Without white space at the ends of its texts."""
        return replace(
            self,
            prompt=self.prompt.strip(),
            response=self.response.strip(),
            earlier=tuple(replace(turn, text=turn.text.strip()) for turn in self.earlier),
            rejected=None if self.rejected is None else self.rejected.strip(),
        )
