"""A run in plain ASCII lines, one an event that matters: for logs, pipes and terminals that cannot draw."""

from __future__ import annotations

from collections.abc import Mapping

from sealora_common.records.events import (
    EvaluationFinished,
    Event,
    RoundAborted,
    RoundFinished,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunStarted,
    SiteBlamed,
    SiteFailed,
    SitesReady,
    Stage,
    SumSpoilt,
)
from sealora_common.records.site_rounds import SiteHistory
from sealora_common.show.safe_text import safe_text
from sealora_server.view.quantities import (
    change_text,
    count_text,
    duration_text,
    epsilon_text,
    loss_text,
    names_text,
    target_text,
)


class PlainLines:
    """Turns events into lines; remembers what a line needs to know from earlier events."""

    def __init__(self) -> None:
        self._started: RunStarted | None = None

    def line(self, event: Event, histories: Mapping[str, SiteHistory]) -> str | None:
        """The line for `event`, or None where it is not worth one."""
        match event:
            case RunStarted():
                self._started = event
                return _started_line(event)
            case SitesReady():
                return _ready_line(event)
            case Stage():
                return self._stage_line(event)
            case RoundFinished():
                return self._round_line(event, histories)
            case EvaluationFinished() if event.heldout_loss is not None:
                return f"final adapter: {self._loss_name} {loss_text(event.heldout_loss)}"
            case _:
                return self._trouble_line(event) or self._end_line(event)

    def _stage_line(self, event: Stage) -> str | None:
        doing = {"train": "training", "evaluate": "evaluating"}.get(event.stage)
        return f"{self._where(event.round)}: {doing} at {count_text(event.sites, 'site')} ..." if doing else None

    def _trouble_line(self, event: Event) -> str | None:
        match event:
            case SiteFailed():
                reason = safe_text(event.reason)
                return f"{self._where(event.round)}: lost {event.site} ({event.stage}): {reason}"
            case SiteBlamed():
                return (
                    f"{self._where(event.round)}: {event.site} broke the sealing protocol ({event.reason}; "
                    f"{event.evidence} shows it) and takes no further part"
                )
            case SumSpoilt():
                return (
                    f"{self._where(event.round)}: a sum did not add up, one of these sites sent a damaged vector: "
                    f"{names_text(event.suspects)}"
                )
            case RoundAborted():
                return (
                    f"{self._where(event.round)}: attempt {event.attempt} given up, "
                    f"nothing was unmasked: {safe_text(event.reason)}"
                )
            case _:
                return None

    def _end_line(self, event: Event) -> str | None:
        match event:
            case RunFinished():
                return _finished_line(event, self._loss_name)
            case RunFailed():
                return f"run failed: {safe_text(event.reason)}"
            case RunInterrupted():
                return f"run interrupted in round {event.round}"
            case _:
                return None

    def _round_line(self, event: RoundFinished, histories: Mapping[str, SiteHistory]) -> str:
        parts = [f"sealed sum of {count_text(len(event.survivors), 'site')} opened"]
        if event.heldout_loss is not None:
            moment = "before training" if event.round == 1 else "at its start"
            parts.append(f"{self._loss_name} {moment} {loss_text(event.heldout_loss)}")
        curves = (dict(history.epsilons) for history in histories.values())
        spent = [curve[event.round] for curve in curves if event.round in curve]
        if spent and self._started:
            parts.append(f"epsilon {epsilon_text(max(spent))} of {target_text(self._started.epsilon)}")
        parts.append(duration_text(event.seconds))
        return f"{self._where(event.round)}: {', '.join(parts)}"

    @property
    def _loss_name(self) -> str:
        private = self._started is not None and self._started.mechanism != "none"
        return "noisy held-out loss" if private else "held-out loss"

    def _where(self, number: int) -> str:
        rounds = self._started.rounds if self._started else 0
        return f"round {number}/{rounds}" if number <= rounds else "final adapter"


def _started_line(event: RunStarted) -> str:
    if event.mechanism == "none" or event.epsilon is None:
        privacy = "NO differential privacy"
    else:
        bound = f"epsilon <= {target_text(event.epsilon)}, delta <= {target_text(event.delta)}"
        privacy = f"{bound} at every site"
    resumed = f", resumed at round {event.first_round}" if event.first_round > 1 else ""
    insecure = "; INSECURE: randomness is seeded for a test" if event.insecure else ""
    return f"{event.name}: {count_text(event.rounds, 'round')}, {privacy}{resumed}{insecure}"


def _ready_line(event: SitesReady) -> str:
    line = f"{count_text(len(event.sites), 'site')} ready: {names_text(event.sites)}"
    if event.turned_away:
        line += f"; not taking part: {names_text([f'{away.name} ({away.reason})' for away in event.turned_away])}"
    return f"{line}; missing: {names_text(event.missing)}" if event.missing else line


def _finished_line(event: RunFinished, loss_name: str) -> str:
    line = f"finished in {duration_text(event.seconds)}"
    before, after = event.heldout_loss_before, event.heldout_loss_after
    if before is None or after is None or before == 0:
        return line
    change = change_text(after / before - 1)
    return f"{line}: {loss_name} {loss_text(before)} -> {loss_text(after)} ({change})"
