"""What happens in a run. `event_log` writes and reads it, one JSON object a line."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.records.record import FiniteOrNone, WrittenRecord

StageName = Literal["train", "share", "check", "disclose", "mask", "confirm", "open", "evaluate"]
OperatorAction = Literal["submit", "approve", "refuse", "stop", "resume", "use_roster"]


class RunStarted(WrittenRecord):
    """The run began, or went on: a resumed run appends a second one."""

    event: Literal["run_started"] = "run_started"
    name: str
    run_id: str
    rounds: int
    recipe_hash: str
    """SHA-256, hex."""
    epsilon: FiniteOrNone
    """The recipe's target for each site over the whole run; null without a mechanism."""
    delta: FiniteOrNone
    mechanism: str
    expected_epochs: FiniteOrNone = None
    """How often a record is expected to be drawn in all rounds; null in the logs of older versions."""
    continue_from: str | None = None
    """SHA-256, hex, of the values of the adapter that the run began with, if that is an earlier run's."""
    first_round: int = 1
    """Above 1 when the run was resumed."""
    heldout: HeldoutFigure = HeldoutFigure()
    """What evaluations tell."""
    heldout_noise: FiniteOrNone = None
    """Standard deviation of the noise on a site's held-out figure, times its held-out units, how many of which only the
    site knows; null where there is none, and in the logs of older versions."""
    heldout_noise_least: FiniteOrNone = None
    """That of a site with as many held-out units as are evaluated at most: the least there can be, and public."""
    heldout_clip: FiniteOrNone = None
    """What a unit's loss is clipped to before it is told; null where nothing is taken away by that."""
    insecure: bool = False
    """Noise or masks came from a fixed seed, for a test: nothing of this run is private."""


class TurnedAway(WrittenRecord):
    """A site that is connected and takes no part: it refused when it was greeted, or it does not fit the run."""

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


class Attendance(WrittenRecord):
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


class Stage(WrittenRecord):
    """The server has asked the sites for the next step of a round."""

    event: Literal["stage"] = "stage"
    round: int
    """1 to rounds; rounds + 1 for the evaluation of the final adapter."""
    stage: StageName
    sites: int
    """How many sites are awaited."""


class SiteReplied(WrittenRecord):
    """One site's answer to a stage has arrived."""

    event: Literal["site_replied"] = "site_replied"
    round: int
    stage: StageName
    site: str
    bytes_up: int
    """Bytes of the site's answer."""
    bytes_down: int
    """Bytes of the server's order."""


class SiteFailed(WrittenRecord):
    """One site answered with an error, or not in time."""

    event: Literal["site_failed"] = "site_failed"
    round: int
    stage: StageName
    site: str
    reason: str


class SiteBlamed(WrittenRecord):
    """A site broke the sealing protocol, which its own signatures show: it takes no further part in the run."""

    event: Literal["site_blamed"] = "site_blamed"
    round: int
    attempt: int
    site: str
    reason: str
    evidence: str
    """File in the run's directory that shows it to anybody who has the roster."""


class SumSpoilt(WrittenRecord):
    """A sum did not add up: one of these sites sent a damaged vector. No evidence, see `suspects`."""

    event: Literal["sum_spoilt"] = "sum_spoilt"
    round: int
    attempt: int
    suspects: tuple[str, ...]


class RoundAborted(WrittenRecord):
    """Too few sites were left to open the sum; nothing was unmasked and the round is tried again."""

    event: Literal["round_aborted"] = "round_aborted"
    round: int
    attempt: int
    reason: str


class RoundFinished(WrittenRecord):
    """The sealed sum was opened and the global adapter stepped."""

    event: Literal["round_finished"] = "round_finished"
    round: int
    survivors: tuple[str, ...]
    heldout_loss: FiniteOrNone
    """The federation's mean for the adapter that came INTO the round: round 1 holds `before`."""
    seconds: FiniteFloat
    adapter_sha256: str
    """Digest of the adapter that came out of the round, hex."""


class StoppedEarly(WrittenRecord):
    """No more rounds are trained: the held-out figures have not improved for as long as the recipe is patient.

    A run that is resumed after it tells it again.
    """

    event: Literal["stopped_early"] = "stopped_early"
    round: int
    """The last one that was trained."""
    best_round: int
    """After how many rounds the best figure was told."""
    best_heldout_loss: FiniteOrNone


class EvaluationFinished(WrittenRecord):
    """The final adapter's held-out loss was opened."""

    event: Literal["evaluation_finished"] = "evaluation_finished"
    heldout_loss: FiniteOrNone
    survivors: tuple[str, ...]


class RunFinished(WrittenRecord):
    """No more rounds are to come, and the final adapter is stored."""

    event: Literal["run_finished"] = "run_finished"
    seconds: FiniteFloat
    heldout_loss_before: FiniteOrNone
    heldout_loss_after: FiniteOrNone
    """Of the adapter that was kept."""
    adapter_sha256: str
    kept_round: int | None = None
    """Rounds that the adapter which was kept had been trained; null in the logs of older versions: all."""


class AdapterDelivered(WrittenRecord):
    """A site has the final adapter, checked against its receipts. May come long after the run's end."""

    event: Literal["adapter_delivered"] = "adapter_delivered"
    site: str


class DeliveryFailed(WrittenRecord):
    """A site was offered the final adapter and has not taken it; it is offered it again."""

    event: Literal["delivery_failed"] = "delivery_failed"
    site: str
    reason: str


class RunFailed(WrittenRecord):
    """The run stopped by itself; every finished round is kept."""

    event: Literal["run_failed"] = "run_failed"
    reason: str


class OperatorActed(WrittenRecord):
    """A person asked something of the run. Written by the server, not by the run itself."""

    event: Literal["operator_acted"] = "operator_acted"
    action: OperatorAction
    account: str
    """Who asked: an account of the server's machine, or a person who had logged in."""


class ProcessEnded(WrittenRecord):
    """The run's process ended before the run did, which goes on in a new one. Written by the server."""

    event: Literal["process_ended"] = "process_ended"
    reason: str


class RunInterrupted(WrittenRecord):
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
    | StoppedEarly
    | EvaluationFinished
    | RunFinished
    | AdapterDelivered
    | DeliveryFailed
    | RunFailed
    | RunInterrupted
    | OperatorActed
    | ProcessEnded
)
