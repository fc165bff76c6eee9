"""All that a site's files know of what left it, run by run: the log of messages, history, ledger and outbox."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sealora_client.dashboard.budget_facts import ChargeFacts
from sealora_client.operator.sent_log import SentLog, SentMessage, require_readable
from sealora_client.round.outbox import sent_marks
from sealora_common.records.names import HISTORY
from sealora_common.records.site_rounds import SiteRound, SiteRoundsTail

VECTOR: Final = "mask"
"""The stage whose answer is the sealed vector."""


@dataclass
class KnownOfRun:
    """What is known of one run.

    Attributes:
        messages: that were written down as they left.
        lines: of the site's history.
        released: round -> when its charge was released.
        charges: (round, data set, what for) -> how many were released.
        marked: rounds of which the outbox knows that a vector left -> whether that was the final evaluation.
    """

    messages: list[SentMessage] = field(default_factory=list)
    lines: list[SiteRound] = field(default_factory=list)
    released: dict[int, str] = field(default_factory=dict)
    charges: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    marked: dict[int, bool] = field(default_factory=dict)

    @property
    def last(self) -> str:
        """When the last of it was, UTC, ISO 8601; empty if nothing tells."""
        return max([*(each.at for each in self.messages), *self.released.values()], default="")

    @property
    def logged_bytes(self) -> int:
        """Of the messages that were written down."""
        return sum(each.bytes for each in self.messages)

    def vectors(self) -> dict[int, int]:
        """Round -> how many vectors left in it, as whatever knows of most has it; rounds without any are not there."""
        found = Counter(each.round or 0 for each in self.messages if each.kind == VECTOR and not each.refused)
        found |= Counter(line.round for line in self.lines)
        found |= Counter(dict.fromkeys(self.marked, 1))
        for (number, *_), count in self.charges.items():  # a round's vector is paid for once by each data set
            found[number] = max(found[number], count)
        return found

    def vectors_at(self) -> list[str]:
        """When they left, as far as it is known, the earliest first."""
        logged = (each.at for each in self.messages if each.kind == VECTOR and not each.refused)
        return sorted([*logged, *self.released.values()])


@dataclass(frozen=True)
class KnownSent:
    """All of it.

    Attributes:
        runs: by id; empty where a history of an earlier version names none.
        of_no_run: messages of none.
        is_whole: see `SentMessages`.
    """

    runs: Mapping[str, KnownOfRun]
    of_no_run: KnownOfRun
    is_whole: bool


def known_sent(directory: Path, charges: Iterable[ChargeFacts]) -> KnownSent:
    """Reads it.

    Args:
        directory: the site's.
        charges: of its ledger.

    Raises:
        StorageError: a file is there and cannot be read.
        OSError: likewise.
    """
    sent, runs, of_no_run = SentLog(directory).read(), defaultdict[str, KnownOfRun](KnownOfRun), KnownOfRun()
    for message in sent.messages:
        (of_no_run if message.run is None else runs[message.run]).messages.append(message)
    require_readable(directory / HISTORY)
    for line in SiteRoundsTail(directory / HISTORY).read():
        runs[line.run or ""].lines.append(line)
    for charge in charges:
        if charge.state == "released" and charge.round:
            runs[charge.run].released[charge.round] = charge.since
            runs[charge.run].charges[charge.round, charge.dataset, charge.what] += 1
    for mark in sent_marks(directory):
        runs[mark.run].marked[mark.round_number] = mark.purpose == "evaluate"
    return KnownSent(runs, of_no_run, sent.is_whole)
