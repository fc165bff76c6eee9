"""What left the site, run by run: from the log of messages, and where that does not reach, from history and ledger.

Nothing is guessed: what nobody wrote down is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealora_client.dashboard.budget_facts import ChargeFacts
from sealora_client.dashboard.runs import RunNames
from sealora_client.operator.sent_log import SentLog, SentMessage
from sealora_common.records.names import HISTORY
from sealora_common.records.site_rounds import SiteRound, SiteRoundsTail

MOST_RUNS: Final = 50
"""That are told of: a server may speak of as many as it likes."""
VECTOR: Final = "mask"
KINDS: Final = {
    "mask": "sealed vector: the update, counts and the held-out figure",
    "hello": "greeting: name, versions, hashes, the adapter's layout",
    "train": "that training is done, and the round's public keys",
    "evaluate": "that evaluating is done, and the round's public keys",
    "share": "encrypted shares of the round's secrets, for other sites",
    "check": "whether the shares of the others can be used",
    "disclose": "shares that another site complained of",
    "confirm": "signed list of the sites in the sum",
    "open": "shares that open the sum",
    "held": "what is here of a run that is over",
    "deliver": "that the final adapter is here",
}
"""What each message says, by its stage. The first alone holds anything of the records."""
_REFUSAL: Final = "refusal: one sentence"


@dataclass(frozen=True)
class KindSent:
    """Messages of one kind.

    Attributes:
        what: they say.
        of_records: whether they hold anything of the records.
        messages: how many.
        bytes: of all of them.
        first: when the first left, UTC, ISO 8601; None where nobody wrote it down, as for all that follow.
        last: when the last did.
    """

    what: str
    of_records: bool
    messages: int | None
    bytes: int | None
    first: str | None = None
    last: str | None = None


@dataclass(frozen=True)
class RoundSent:
    """What left in one round.

    Attributes:
        round: first is 1.
        is_evaluation: whether it was the final evaluation.
        at: when the sealed vector left, UTC, ISO 8601.
        vectors: how often one did.
        vector_bytes: of all of them.
        other_bytes: of the other messages.
    """

    round: int
    is_evaluation: bool
    at: str | None
    vectors: int | None
    vector_bytes: int | None
    other_bytes: int | None


@dataclass(frozen=True)
class RunSent:
    """What left in one run.

    Attributes:
        run: its id; None: messages of no run.
        recipe: its recipe's name, if the site keeps it.
        kinds: what holds something of records first.
        rounds: in order.
        is_logged: whether each message was written down as it left; else it is from history and ledger.
    """

    run: str | None
    recipe: str | None
    kinds: tuple[KindSent, ...]
    rounds: tuple[RoundSent, ...]
    is_logged: bool

    @property
    def bytes(self) -> int:
        """Of all messages that somebody counted."""
        return sum(kind.bytes or 0 for kind in self.kinds)

    @property
    def vectors(self) -> int:
        """Sealed vectors."""
        return sum(kind.messages or 0 for kind in self.kinds if kind.of_records)

    @property
    def last(self) -> str | None:
        """When the last message left."""
        return max((kind.last for kind in self.kinds if kind.last is not None), default=None)


@dataclass(frozen=True)
class SentFacts:
    """All of it.

    Attributes:
        runs: the newest first, at most `MOST_RUNS`; what is of no run at the end.
        more_runs: runs that are not told of.
        is_whole: whether the log has not dropped its oldest messages.
    """

    runs: tuple[RunSent, ...]
    is_whole: bool
    more_runs: int = 0

    @property
    def bytes(self) -> int:
        """Of all that was counted."""
        return sum(run.bytes for run in self.runs)

    @property
    def vectors(self) -> int:
        """Sealed vectors, the one kind of message that holds anything of the records."""
        return sum(run.vectors for run in self.runs)


def read_sent(directory: Path, runs: RunNames, charges: Iterable[ChargeFacts]) -> SentFacts:
    """What left the site in `directory`.

    Args:
        directory: the site's.
        runs: the recipes of its runs.
        charges: of its ledger, which tell when a vector left that no message was written down of.
    """
    sent = SentLog(directory).read()
    logged: dict[str | None, list[SentMessage]] = {}
    for message in sent.messages:
        logged.setdefault(message.run, []).append(message)
    lines: dict[str, list[SiteRound]] = {}
    for line in SiteRoundsTail(directory / HISTORY).read():
        lines.setdefault(line.run or "", []).append(line)
    released: dict[str, dict[int, str]] = {}
    for charge in charges:
        if charge.state == "released":
            released.setdefault(charge.run, {})[charge.round] = charge.since
    named = dict.fromkeys([*lines, *released, *(run for run in logged if run is not None)])
    newest = sorted(named, key=lambda run: _when(logged.get(run), released.get(run)), reverse=True)
    found = [
        _logged(run, runs, logged[run])
        if run in logged and not _began_before(logged[run], lines.get(run, []))
        else _remembered(run, runs, lines.get(run, []), released.get(run, {}))
        for run in newest[:MOST_RUNS]
    ]
    if None in logged:
        found.append(_logged(None, runs, logged[None]))
    return SentFacts(tuple(found), sent.is_whole, max(0, len(newest) - MOST_RUNS))


def _when(messages: Sequence[SentMessage] | None, released: dict[int, str] | None) -> str:
    return max([*(each.at for each in messages or ()), *(released or {}).values()], default="")


def _began_before(messages: Sequence[SentMessage], lines: Sequence[SiteRound]) -> bool:
    """Whether the run had rounds before messages were written down, or before the oldest that are still there."""
    seen = {message.round for message in messages if message.kind == VECTOR}
    return any(line.round not in seen for line in lines)


def _logged(run: str | None, runs: RunNames, messages: Sequence[SentMessage]) -> RunSent:
    kinds: dict[str, list[SentMessage]] = {}
    for message in messages:
        kinds.setdefault(_REFUSAL if message.refused else message.kind, []).append(message)
    order = [*KINDS, _REFUSAL, *kinds]
    recipe = None if run is None else runs.recipe(run)
    return RunSent(
        run=run,
        recipe=None if recipe is None else recipe.name,
        kinds=tuple(_of_kind(kind, kinds[kind]) for kind in dict.fromkeys(order) if kind in kinds),
        rounds=tuple(_rounds(messages)),
        is_logged=True,
    )


def _of_kind(kind: str, messages: Sequence[SentMessage]) -> KindSent:
    return KindSent(
        what=KINDS.get(kind, kind),
        of_records=kind == VECTOR,
        messages=len(messages),
        bytes=sum(message.bytes for message in messages),
        first=messages[0].at,
        last=messages[-1].at,
    )


def _rounds(messages: Sequence[SentMessage]) -> Iterable[RoundSent]:
    numbers = sorted({message.round for message in messages if message.round is not None})
    for number in numbers:
        own = [message for message in messages if message.round == number]
        vectors = [message for message in own if message.kind == VECTOR and not message.refused]
        yield RoundSent(
            round=number,
            is_evaluation=any(message.kind == "evaluate" for message in own),
            at=vectors[-1].at if vectors else None,
            vectors=len(vectors),
            vector_bytes=sum(message.bytes for message in vectors),
            other_bytes=sum(message.bytes for message in own) - sum(message.bytes for message in vectors),
        )


def _remembered(run: str, runs: RunNames, lines: Sequence[SiteRound], released: dict[int, str]) -> RunSent:
    sizes = [line.vector_bytes for line in lines if line.vector_bytes is not None]
    up, times = sum(line.bytes_up for line in lines), sorted(released.values())
    recipe = runs.recipe(run)
    rounds = [
        RoundSent(
            round=line.round,
            is_evaluation=line.kind == "evaluate",
            at=released.get(line.round),
            vectors=None if line.vector_bytes is None else 1,
            vector_bytes=line.vector_bytes,
            other_bytes=None if line.vector_bytes is None else line.bytes_up - line.vector_bytes,
        )
        for line in lines
    ]
    unfinished = sorted(set(released) - {line.round for line in lines} - {0})
    rounds += [RoundSent(number, False, released[number], None, None, None) for number in unfinished]
    first, last = (times[0], times[-1]) if times else (None, None)
    return RunSent(
        run=run or None,
        recipe=None if recipe is None else recipe.name,
        kinds=(
            KindSent(KINDS[VECTOR], True, max(len(sizes), len(set(released) - {0})), sum(sizes) or None, first, last),
            KindSent(
                "all other messages of its rounds: keys, encrypted shares, confirmations",
                False,
                None,
                up - sum(sizes) if lines else None,
            ),
        ),
        rounds=tuple(rounds),
        is_logged=False,
    )
