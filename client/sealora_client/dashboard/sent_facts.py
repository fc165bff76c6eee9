"""What left the site, run by run: from the log of messages, and where that does not reach, from history and ledger.

Nothing is guessed: what nobody wrote down is None. And nothing is told smaller than it is: the log begins anew when a
server has asked for enough, or lacks what a full disk did not take; a vector that history, ledger or outbox know of
counts all the same. A server names as many runs as it likes, so runs of which a vector left are told of first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealora_client.dashboard.budget_facts import ChargeFacts
from sealora_client.dashboard.known_sent import VECTOR, KnownOfRun, known_sent
from sealora_client.dashboard.runs import RunNames
from sealora_client.operator.sent_log import SentMessage

MOST_RUNS: Final = 50
"""That are told of: a server may speak of as many as it likes."""
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
        is_whole: whether the log has not dropped its oldest messages, and could be read whole.
        more_runs: runs that are not told of.
        more_vectors: that left in those.
        more_bytes: of their messages.
        is_known: whether it could be read at all.
    """

    runs: tuple[RunSent, ...]
    is_whole: bool
    more_runs: int = 0
    more_vectors: int = 0
    more_bytes: int = 0
    is_known: bool = True

    @property
    def bytes(self) -> int:
        """Of all that was counted."""
        return sum(run.bytes for run in self.runs) + self.more_bytes

    @property
    def vectors(self) -> int:
        """Sealed vectors, the one kind of message that holds anything of the records."""
        return sum(run.vectors for run in self.runs) + self.more_vectors


def read_sent(directory: Path, runs: RunNames, charges: Iterable[ChargeFacts]) -> SentFacts:
    """What left the site in `directory`.

    Args:
        directory: the site's.
        runs: the recipes of its runs.
        charges: of its ledger, which tell when a vector left that no message was written down of.
    """
    known = known_sent(directory, charges)
    newest = sorted(known.runs, key=lambda run: known.runs[run].last, reverse=True)
    told = set(sorted(newest, key=lambda run: not known.runs[run].vectors())[:MOST_RUNS])
    found = [_told(run, runs, known.runs[run]) for run in newest if run in told]
    if known.of_no_run.messages:
        found.append(_logged(None, runs, known.of_no_run))
    others = [known.runs[run] for run in newest if run not in told]
    return SentFacts(
        runs=tuple(found),
        is_whole=known.is_whole,
        more_runs=len(others),
        more_vectors=sum(sum(each.vectors().values()) for each in others),
        more_bytes=sum(each.logged_bytes for each in others),
    )


def _told(run: str, runs: RunNames, known: KnownOfRun) -> RunSent:
    """From the log, unless the run had rounds before messages were written down, or the oldest that are there."""
    seen = {message.round for message in known.messages if message.kind == VECTOR}
    is_logged = bool(known.messages) and all(line.round in seen for line in known.lines)
    return _logged(run, runs, known) if is_logged else _remembered(run, runs, known)


def _logged(run: str | None, runs: RunNames, known: KnownOfRun) -> RunSent:
    kinds: dict[str, list[SentMessage]] = {}
    for message in known.messages:
        kinds.setdefault(_REFUSAL if message.refused else message.kind, []).append(message)
    order = [*KINDS, _REFUSAL, *kinds]
    recipe = None if run is None else runs.recipe(run)
    found = [_of_kind(kind, kinds[kind]) for kind in dict.fromkeys(order) if kind in kinds]
    vectors = known.vectors()
    if sum(vectors.values()) != sum(kind.messages or 0 for kind in found if kind.of_records):
        logged = [kind for kind in found if kind.of_records]
        size, times = sum(kind.bytes or 0 for kind in logged) or None, known.vectors_at()
        first, last = (times[0], times[-1]) if times else (None, None)
        found = [
            KindSent(KINDS[VECTOR], True, sum(vectors.values()), size, first, last),
            *(kind for kind in found if not kind.of_records),
        ]
    return RunSent(
        run=run,
        recipe=None if recipe is None else recipe.name,
        kinds=tuple(found),
        rounds=tuple(_rounds(known, vectors)),
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


def _rounds(known: KnownOfRun, vectors: Mapping[int, int]) -> Iterator[RoundSent]:
    numbers = {message.round for message in known.messages if message.round is not None}
    for number in sorted(numbers | vectors.keys() - {0}):
        own = [message for message in known.messages if message.round == number]
        logged = [message for message in own if message.kind == VECTOR and not message.refused]
        count, size = vectors.get(number, 0), sum(message.bytes for message in logged)
        is_counted = count == len(logged)
        yield RoundSent(
            round=number,
            is_evaluation=any(message.kind == "evaluate" for message in own) or known.marked.get(number, False),
            at=logged[-1].at if logged else known.released.get(number),
            vectors=count,
            vector_bytes=size if is_counted else None,
            other_bytes=sum(message.bytes for message in own) - size if own else None,
        )


def _remembered(run: str, runs: RunNames, known: KnownOfRun) -> RunSent:
    lines, released, vectors = known.lines, known.released, known.vectors()
    sizes = [line.vector_bytes for line in lines if line.vector_bytes is not None]
    up, times = sum(line.bytes_up for line in lines), sorted(released.values())
    recipe = runs.recipe(run)
    rounds = [
        RoundSent(
            round=line.round,
            is_evaluation=line.kind == "evaluate",
            at=released.get(line.round),
            vectors=vectors[line.round],
            vector_bytes=None if line.vector_bytes is None or vectors[line.round] > 1 else line.vector_bytes,
            other_bytes=None if line.vector_bytes is None else line.bytes_up - line.vector_bytes,
        )
        for line in {line.round: line for line in lines}.values()
    ]
    unfinished = sorted(vectors.keys() - {line.round for line in lines} - {0})
    rounds += [
        RoundSent(number, known.marked.get(number, False), released.get(number), vectors[number], None, None)
        for number in unfinished
    ]
    first, last = (times[0], times[-1]) if times else (None, None)
    of_vectors = max(sum(sizes), sum(each.bytes for each in known.messages if each.kind == VECTOR))
    of_all = max(up, known.logged_bytes)
    return RunSent(
        run=run or None,
        recipe=None if recipe is None else recipe.name,
        kinds=(
            KindSent(KINDS[VECTOR], True, sum(vectors.values()), of_vectors or None, first, last),
            KindSent(
                "all other messages of its rounds: keys, encrypted shares, confirmations",
                False,
                None,
                max(0, of_all - of_vectors) if lines else None,
            ),
        ),
        rounds=tuple(rounds),
        is_logged=False,
    )
