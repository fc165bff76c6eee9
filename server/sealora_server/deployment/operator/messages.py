"""What an operator can ask of a running server, and what it answers: one JSON line each way over `operator.sock`.

The file system's permissions on the socket are the authentication; no port is open for any of this.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from sealora_common.config import Bounds, Name, adapted_from_json
from sealora_common.errors import UnreadableError
from sealora_common.records.events import TurnedAway
from sealora_common.show.quantities import count_text
from sealora_common.show.safe_text import safe_text
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.person import Person

_SHOWN = 100
_SHOWN_DIGEST = 12
RunCondition = Literal["unapproved", "queued", "running", "stopped", "failed", "finished"]


class Message(BaseModel):
    """Base of all: immutable, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Submit(Message):
    """Start a run."""

    action: Literal["submit"] = "submit"
    name: Name
    recipe: str
    """YAML."""
    roster: str
    """JSON, signed by the coordinator."""
    continue_from: str | None = None
    """Directory, on this machine, of the run or adapter that it begins with."""


class Stop(Message):
    """Stop a run; it can be resumed."""

    action: Literal["stop"] = "stop"
    run: Name


class Resume(Message):
    """Go on with a run that was stopped or has failed."""

    action: Literal["resume"] = "resume"
    run: Name


class Approve(Message):
    """Let a run begin that another person has asked for."""

    action: Literal["approve"] = "approve"
    run: Name
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the recipe and roster that were looked at: `ApprovalStatus.digest`."""


class Refuse(Message):
    """Let it not begin. Whoever wants it can ask again by `Resume`."""

    action: Literal["refuse"] = "refuse"
    run: Name


class Delete(Message):
    """Delete a run that does not go on, with all that its directory holds."""

    action: Literal["delete"] = "delete"
    run: Name


class UseRoster(Message):
    """Use a new roster from a run's next round on."""

    action: Literal["use_roster"] = "use_roster"
    run: Name
    roster: str


class Register(Message):
    """Let these sites connect; a known site's key is replaced."""

    action: Literal["register"] = "register"
    nodes: dict[str, str]
    """Site name -> its node's public key (OpenSSH, P-384), from its card or the roster."""


class Unregister(Message):
    """Let a site connect no more."""

    action: Literal["unregister"] = "unregister"
    site: str


class AskStatus(Message):
    """How everything is."""

    action: Literal["status"] = "status"


Act = Submit | Approve | Refuse | Stop | Resume | UseRoster | Delete | Register | Unregister | AskStatus
"""What can be asked for."""


class OnBehalf(Message):
    """What a person asks for who has logged in at the dashboard, which speaks for them."""

    action: Literal["on_behalf"] = "on_behalf"
    person: Person
    secret: str = Field(repr=False)
    """That the server gave its dashboard when it started it."""
    act: Annotated[Act, Field(discriminator="action")]


Request = Act | OnBehalf


def act_text(act: Act) -> str | None:
    """What an act does, in a few words for the log; None where it only asks.

    The words are of names alone, of which each has a form that can be shown; a site's to be withdrawn need not be one.
    """
    match act:
        case AskStatus():
            return None
        case Submit():
            return f"submit run {act.name}"
        case Approve():
            return f"approve run {act.run} as {act.digest[:_SHOWN_DIGEST]}"
        case Stop() | Resume() | UseRoster() | Delete() | Refuse():
            return f"{act.action.replace('_', '-')} of run {act.run}"
        case Register():
            return f"register {count_text(len(act.nodes), 'site')}"
        case Unregister():
            return f"unregister {safe_text(act.site, _SHOWN)}"


REQUEST = Bounds(longest=32 * 2**20)
"""Of a line each way: a roster travels as a text in it, with its quotes escaped."""
_request: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="action")])


class ProcessStatus(Message):
    """One of the server's processes."""

    name: str
    pid: int | None
    """None while it is down."""
    restarts: int
    seconds: float
    """Since it was started."""


class SiteStatus(Message):
    """One registered site."""

    name: str
    online: bool


class ApprovalStatus(Message):
    """Who asked for a run, and who approved it, on a server that demands it."""

    digest: str
    """SHA-256 (hex) of recipe and roster together."""
    asked_by: str
    asked_at: str
    """UTC, ISO 8601."""
    approved_by: str | None
    approved_at: str | None


class RunStatus(Message):
    """One run."""

    name: str
    condition: RunCondition | Literal["damaged"]
    """`damaged`: a file of its directory is missing or cannot be read, so that nothing can be done with it."""
    said: str
    """A sentence on where it is, or why it ended."""
    finished_rounds: int
    rounds: int
    waiting_for: tuple[str, ...] = ()
    """Sites whose answer to the present stage is out."""
    turned_away: tuple[TurnedAway, ...] = ()
    """Sites that are connected and take no part, and why."""
    approval: ApprovalStatus | None = None


class Status(Message):
    """How everything is."""

    up: bool
    """Whether sites can connect; before, the server is starting."""
    address: str | None
    """Where sites connect; None when the front is the operator's own."""
    hosts: tuple[str, ...]
    server_key: str
    """Fingerprint of the key that signs the receipts."""
    health: str | None
    """`host:port` of probes and metrics."""
    certificate_expires: str
    """ISO 8601."""
    tls: str
    """A sentence on what a handshake with the front from this machine agrees on, or why that is not known."""
    warnings: tuple[str, ...]
    processes: tuple[ProcessStatus, ...]
    sites: tuple[SiteStatus, ...]
    runs: tuple[RunStatus, ...]


class Done(Message):
    """It is done, and there is nothing to tell."""


Result = Done | Status


class Answer(Message):
    """What comes back: a result, or the one sentence why there is none."""

    result: Result = Done()
    error: str | None = None


def status_of(result: Result) -> Status:
    """What the server answers to `AskStatus`.

    Raises:
        DeploymentError: it has answered something else.
    """
    if not isinstance(result, Status):
        raise DeploymentError("the server's answer is not to the question: is it of another version? See its log")
    return result


def parse_request(line: bytes) -> Request:
    """Reads a request.

    Raises:
        DeploymentError: it is none.
    """
    try:
        return adapted_from_json(_request, line, REQUEST)
    except UnreadableError as error:
        raise DeploymentError(f"{error}: correct it") from None
