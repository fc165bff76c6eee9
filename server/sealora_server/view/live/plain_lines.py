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
    StoppedEarly,
    SumSpoilt,
)
from sealora_common.records.run_state import RunState
from sealora_common.records.site_rounds import SiteHistory
from sealora_common.show.quantities import (
    count_text,
    epsilon_text,
    names_text,
    target_text,
    time_text,
)
from sealora_common.show.safe_text import safe_text
from sealora_server.view.told_figure_text import noise_of_mean, told_change_text, told_name, told_text


def plain_line(event: Event, state: RunState, histories: Mapping[str, SiteHistory]) -> str | None:
    """The line for `event`, or None where it is not worth one.

    Args:
        event: of the run.
        state: the run's, after the event or later.
        histories: the sites' own, by name.
    """
    where = where_text(event.round, state) if isinstance(event, _OfARound) else ""
    match event:
        case RunStarted():
            return _started_line(event, state)
        case SitesReady():
            return _ready_line(event)
        case Stage():
            doing = {"train": "training", "evaluate": "evaluating"}.get(event.stage)
            return f"{where}: {doing} at {count_text(event.sites, 'site')} ..." if doing else None
        case RoundFinished():
            return f"{where}: {_round_words(event, state, histories)}"
        case EvaluationFinished() if event.heldout_loss is not None:
            noise = noise_of_mean(state, histories, len(state.survivors))
            return f"final adapter: {told_name(state)} {told_text(event.heldout_loss, noise, state)}"
        case _:
            return _trouble_line(event, where) or _end_line(event, state, histories)


_OfARound = Stage | SiteFailed | SiteBlamed | SumSpoilt | RoundAborted | RoundFinished


def _trouble_line(event: Event, where: str) -> str | None:
    match event:
        case SiteFailed():
            return f"{where}: lost {event.site} ({event.stage}): {safe_text(event.reason)}"
        case SiteBlamed():
            return (
                f"{where}: {event.site} broke the sealing protocol ({event.reason}; {event.evidence} shows it) and "
                "takes no further part"
            )
        case SumSpoilt():
            return (
                f"{where}: a sum did not add up, one of these sites sent a damaged vector: {names_text(event.suspects)}"
            )
        case RoundAborted():
            return f"{where}: attempt {event.attempt} given up, nothing was unmasked: {safe_text(event.reason)}"
        case _:
            return None


def _end_line(event: Event, state: RunState, histories: Mapping[str, SiteHistory]) -> str | None:
    match event:
        case StoppedEarly():
            best = f"{told_name(state)} {state.heldout.text(event.best_heldout_loss)} after {event.best_round}"
            return f"no more rounds after {event.round}: no improvement on the {best}"
        case RunFinished():
            return _finished_line(event, state, histories)
        case RunFailed():
            return f"run failed: {safe_text(event.reason)}"
        case RunInterrupted():
            return f"run interrupted in round {event.round}"
        case _:
            return None


def _round_words(event: RoundFinished, state: RunState, histories: Mapping[str, SiteHistory]) -> str:
    parts = [f"sealed sum of {count_text(len(event.survivors), 'site')} opened"]
    if event.heldout_loss is not None:
        moment = "before training" if event.round == 1 else "at its start"
        told = told_text(event.heldout_loss, noise_of_mean(state, histories, len(event.survivors)), state)
        parts.append(f"{told_name(state)} {moment} {told}")
    curves = (dict(history.epsilons) for history in histories.values())
    spent = [curve[event.round] for curve in curves if event.round in curve]
    if spent and state.started:
        parts.append(f"epsilon {epsilon_text(max(spent))} of {target_text(state.started.epsilon)}")
    parts.append(time_text(event.seconds))
    return ", ".join(parts)


def where_text(number: int, state: RunState) -> str:
    """Which round it is, as all lines begin that are of one."""
    return f"round {number}/{state.rounds}" if number <= state.rounds else "final adapter"


def privacy_text(started: RunStarted, state: RunState) -> str:
    """What a run promises every record, or that it promises nothing."""
    if not state.is_private or started.epsilon is None:
        return "NO differential privacy"
    bound = f"epsilon <= {target_text(started.epsilon)}, delta <= {target_text(started.delta)}"
    return f"{bound} at every site"


def _started_line(event: RunStarted, state: RunState) -> str:
    privacy = privacy_text(event, state)
    resumed = f", resumed at round {event.first_round}" if event.first_round > 1 else ""
    insecure = "; INSECURE: randomness is seeded for a test" if event.insecure else ""
    return f"{event.name}: {count_text(event.rounds, 'round')}, {privacy}{resumed}{insecure}"


def _ready_line(event: SitesReady) -> str:
    line = f"{count_text(len(event.sites), 'site')} ready: {names_text(event.sites)}"
    if event.turned_away:
        line += f"; not taking part: {names_text([f'{away.name} ({away.reason})' for away in event.turned_away])}"
    return f"{line}; missing: {names_text(event.missing)}" if event.missing else line


def _finished_line(event: RunFinished, state: RunState, histories: Mapping[str, SiteHistory]) -> str:
    line = f"finished in {time_text(event.seconds)}"
    if event.kept_round is not None and event.kept_round != state.rounds:
        line += f", kept the adapter of round {event.kept_round}"
    before, after = event.heldout_loss_before, event.heldout_loss_after
    if before is None or after is None:
        return line
    noise, figure = noise_of_mean(state, histories, len(state.survivors)), state.heldout
    line = f"{line}: {told_name(state)} {figure.text(before)} -> {told_text(after, noise, state)}"
    return line + told_change_text(before, after, noise, state)
