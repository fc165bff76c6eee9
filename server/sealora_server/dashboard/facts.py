"""What the pages show: values, typed and ready, of one run and of the server. What they look like is the templates'."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sealora_common.records.run_state import RunState
from sealora_server.deployment.operator.messages import RunCondition, Status
from sealora_server.view.story import StoryLine

Tone = Literal["good", "warn", "bad", "idle", "plain"]
"""How a word is meant; pages colour a mark beside it, and never say it by colour alone."""

Condition = RunCondition | Literal["damaged", "interrupted", "reading"]
"""`reading`: its events are being read for the first time."""


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """One site in one run.

    Attributes:
        name: the site's.
        word: how it is now.
        tone: of the word.
        note: why, where that is known.
        answered_at: when its newest answer came, Unix seconds.
        in_sums: of how many rounds' sums it is part.
        sent: bytes, as the server counts them.
        received: bytes.
        train_seconds: what its answer to the order to train took on average.
    """

    name: str
    word: str
    tone: Tone
    note: str
    answered_at: float | None
    in_sums: int
    sent: int
    received: int
    train_seconds: float | None


@dataclass(frozen=True, slots=True)
class ReceiptFacts:
    """What one round's receipt proves.

    Attributes:
        round: whose it is.
        confirmed: sites whose signatures it holds.
        needed: how many it needs.
        digest: of the adapter that came out of the round, hex.
        problem: why it does not hold, a sentence with what to do; empty if it does.
    """

    round: int
    confirmed: int
    needed: int
    digest: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """A run's receipts.

    Attributes:
        receipts: those that were checked, in order.
        count: how many there are.
        problem: why the chain, or all of it, cannot be checked; empty if nothing is wrong so far.
    """

    receipts: tuple[ReceiptFacts, ...] = ()
    count: int = 0
    problem: str = ""

    @property
    def is_checked(self) -> bool:
        """Whether nothing is left to check."""
        return bool(self.problem) or len(self.receipts) == self.count

    @property
    def by_round(self) -> dict[int, ReceiptFacts]:
        """The receipts that were checked, by their round."""
        return {receipt.round: receipt for receipt in self.receipts}


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that somebody should know of, or do.

    Attributes:
        tone: how urgent.
        text: what it is: one sentence.
        remedy: what to do, and who; empty where the sentence says it or nothing is to be done.
        at: since when, or when it happened, Unix seconds.
    """

    tone: Tone
    text: str
    remedy: str = ""
    at: float | None = None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run.

    Attributes:
        key: by which its page is asked.
        directory: its own.
        condition: what it does, as far as it can be told.
        said: a sentence on where it is.
        state: folded from its events.
        sites: all that were ever named, those to be looked at first.
        notices: what is to be looked at, the most urgent first.
        chain: its receipts.
        story: what happened last, the newest first.
        waiting_for: sites whose answer, or whose coming, is out.
        read_at: Unix seconds at which all this was so.
    """

    key: str
    directory: Path
    condition: Condition
    said: str
    state: RunState
    sites: tuple[SiteFacts, ...]
    notices: tuple[Notice, ...]
    chain: ChainFacts
    story: tuple[StoryLine, ...]
    waiting_for: tuple[str, ...]
    read_at: float

    @property
    def title(self) -> str:
        """The recipe's name, or, before the run has started, the directory's."""
        return self.state.started.name if self.state.started is not None else self.directory.name

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens of itself."""
        return self.condition not in ("running", "queued", "unapproved", "reading")


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A server.

    Attributes:
        directory: its own.
        status: what it answers; None while it does not.
        problem: why it does not; empty if it does.
    """

    directory: Path
    status: Status | None
    problem: str


@dataclass(frozen=True, slots=True)
class Overview:
    """All that the first page shows.

    Attributes:
        server: None where runs alone are watched.
        where: the places it is of, in a few words.
        runs: those at work first, then the newest.
        notices: of the server and of all runs that are not over.
        read_at: Unix seconds.
    """

    where: str
    server: ServerFacts | None
    runs: tuple[RunFacts, ...]
    notices: tuple[Notice, ...]
    read_at: float
