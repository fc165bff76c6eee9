"""What happens in a run, one JSON object a line in `events.jsonl`, written by the rounds and read by all else.

The log is the only thing a display, a report or an operator's tool needs, whatever engine drives the run.

Example:
    >>> log = EventLog(Path("run/events.jsonl"))  # doctest: +SKIP
    >>> log.write(Stage(round=1, stage="train", sites=3))  # doctest: +SKIP
    >>> read_events(Path("run/events.jsonl"))[-1].event  # doctest: +SKIP
    Stage(event='stage', round=1, stage='train', sites=3)
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sealora_common.config import json_value
from sealora_common.records.json_lines import JsonLinesTail
from sealora_common.storage.durable import append_line

StageName = Literal["train", "share", "check", "disclose", "mask", "confirm", "open", "evaluate"]


class RunEvent(BaseModel):
    """Base of all events: immutable; a reader passes over fields it does not know."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)


class RunStarted(RunEvent):
    """The run began, or went on: a resumed run appends a second one."""

    event: Literal["run_started"] = "run_started"
    name: str
    run_id: str
    rounds: int
    recipe_hash: str
    """SHA-256, hex."""
    epsilon: float | None
    """The recipe's target for each site over the whole run; null without a mechanism."""
    delta: float | None
    mechanism: str
    first_round: int = 1
    """Above 1 when the run was resumed."""
    insecure: bool = False
    """Noise or masks came from a fixed seed, for a test: nothing of this run is private."""


class TurnedAway(BaseModel):
    """A site that is connected and takes no part: it refused when it was greeted, or it does not fit the run."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    site: str | None
    """Null where nothing tells whose the node is: in a simulation, whose nodes have no keys, a refusal has no name."""
    node: int
    """Flower's number of the node."""
    reason: str
    """The site's own sentence, or what is wrong with its greeting: one printable line of bounded length."""

    @property
    def name(self) -> str:
        """The site's name as far as it is known."""
        return self.site or f"node {self.node}"


class Attendance(RunEvent):
    """Base of what is known once the sites have been greeted."""

    sites: tuple[str, ...]
    """Those that take part."""
    needed: int | None = None
    """As many as can open a sum, and as the recipe demands; null in the logs of older versions."""
    turned_away: tuple[TurnedAway, ...] = ()
    missing: tuple[str, ...] = ()
    """Sites of the roster of which nothing else is known: they are not connected, or are a node without a name."""


class SitesReady(Attendance):
    """The round can begin. Written before the first one, and later whenever other sites are turned away than before."""

    event: Literal["sites_ready"] = "sites_ready"


class TooFewSites(Attendance):
    """No round can begin: no site has been given an order, so none has been charged for one."""

    event: Literal["too_few_sites"] = "too_few_sites"


class Stage(RunEvent):
    """The server has asked the sites for the next step of a round."""

    event: Literal["stage"] = "stage"
    round: int
    """1 to rounds; rounds + 1 for the evaluation of the final adapter."""
    stage: StageName
    sites: int
    """How many sites are awaited."""


class SiteReplied(RunEvent):
    """One site's answer to a stage has arrived."""

    event: Literal["site_replied"] = "site_replied"
    round: int
    stage: StageName
    site: str
    bytes_up: int
    """Bytes of the site's answer."""
    bytes_down: int
    """Bytes of the server's order."""


class SiteFailed(RunEvent):
    """One site answered with an error, or not in time."""

    event: Literal["site_failed"] = "site_failed"
    round: int
    stage: StageName
    site: str
    reason: str


class SiteBlamed(RunEvent):
    """A site broke the sealing protocol, which its own signatures show: it takes no further part in the run."""

    event: Literal["site_blamed"] = "site_blamed"
    round: int
    attempt: int
    site: str
    reason: str
    evidence: str
    """File in the run's directory that shows it to anybody who has the roster."""


class SumSpoilt(RunEvent):
    """A sum did not add up: one of these sites sent a damaged vector. No evidence, see `suspects`."""

    event: Literal["sum_spoilt"] = "sum_spoilt"
    round: int
    attempt: int
    suspects: tuple[str, ...]


class RoundAborted(RunEvent):
    """Too few sites were left to open the sum; nothing was unmasked and the round is tried again."""

    event: Literal["round_aborted"] = "round_aborted"
    round: int
    attempt: int
    reason: str


class RoundFinished(RunEvent):
    """The sealed sum was opened and the global adapter stepped."""

    event: Literal["round_finished"] = "round_finished"
    round: int
    survivors: tuple[str, ...]
    heldout_loss: float | None
    """The federation's mean for the adapter that came INTO the round: round 1 holds `before`."""
    seconds: float
    adapter_sha256: str
    """Digest of the adapter that came out of the round, hex."""


class EvaluationFinished(RunEvent):
    """The final adapter's held-out loss was opened."""

    event: Literal["evaluation_finished"] = "evaluation_finished"
    heldout_loss: float | None
    survivors: tuple[str, ...]


class RunFinished(RunEvent):
    """All rounds are done and the final adapter is stored."""

    event: Literal["run_finished"] = "run_finished"
    seconds: float
    heldout_loss_before: float | None
    heldout_loss_after: float | None
    adapter_sha256: str


class RunFailed(RunEvent):
    """The run stopped by itself; every finished round is kept."""

    event: Literal["run_failed"] = "run_failed"
    reason: str


class RunInterrupted(RunEvent):
    """A person stopped the run; it can be resumed at `round`."""

    event: Literal["run_interrupted"] = "run_interrupted"
    round: int


Event = (
    RunStarted
    | SitesReady
    | TooFewSites
    | Stage
    | SiteReplied
    | SiteFailed
    | SiteBlamed
    | SumSpoilt
    | RoundAborted
    | RoundFinished
    | EvaluationFinished
    | RunFinished
    | RunFailed
    | RunInterrupted
)

_event: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event and when it was written."""

    time: float
    """Unix seconds."""
    event: Event


class EventLog:
    """Appends events to a run's log, each durable when `write` returns."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._line_may_be_cut = True

    def write(self, event: Event) -> None:
        """Appends one event with the present time.

        Raises:
            StorageError: the line could not be written.
        """
        if self._line_may_be_cut:
            self._line_may_be_cut = False
            if _ends_inside_a_line(self.path):  # a crash cut it: keep it from swallowing ours
                append_line(self.path, "")
        fields = json_value(event.model_dump_json())  # a loss that is not a number becomes null
        assert isinstance(fields, dict)  # noqa: S101 (a model is one)
        line = {"time": self._clock(), **fields}
        append_line(self.path, json.dumps(line, ensure_ascii=False, separators=(",", ":")))


class EventTail:
    """Hands out the events appended since the last look; tolerant of a line that is still being written."""

    def __init__(self, path: Path) -> None:
        self._tail = JsonLinesTail(path)

    def read(self) -> list[Recorded]:
        """The new events, oldest first. Events of a kind this version does not know are passed over."""
        return [recorded for fields in self._tail.read() if (recorded := _recorded(fields)) is not None]


def read_events(path: Path) -> list[Recorded]:
    """All events of a log so far, oldest first; a log that is not there yet is empty."""
    return EventTail(path).read()


def _recorded(fields: dict[str, Any]) -> Recorded | None:
    try:
        return Recorded(time=float(fields["time"]), event=_event.validate_python(fields))
    except (KeyError, TypeError, ValueError, ValidationError):
        return None


def _ends_inside_a_line(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) == 0:
                return False
            file.seek(-1, 2)
            return file.read(1) != b"\n"
    except OSError:
        return False
