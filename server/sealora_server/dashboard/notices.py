"""What is to be looked at, in plain words, who it waits for, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sealora_common.records.run_state import RunState
from sealora_common.show.quantities import count_text, names_text, time_text
from sealora_server.dashboard.facts import ChainFacts, Condition, Notice, ServerFacts, Tone
from sealora_server.dashboard.site_words import late_sites

_ORDER: dict[Tone, int] = {"bad": 0, "warn": 1, "plain": 2, "idle": 3, "good": 4}
_MOST_FAILURES = 5
_SILENT_SECONDS = 600.0


def run_notices(
    state: RunState,
    chain: ChainFacts,
    condition: Condition,
    said: str,
    directory: Path,
    now: float,
    *,
    is_told_of: bool,
) -> tuple[Notice, ...]:
    """Of one run, the most urgent first.

    Args:
        state: the run's.
        chain: its receipts.
        condition: what it does.
        said: why it failed, or where it is.
        directory: its own.
        now: Unix seconds.
        is_told_of: whether a server says that it is so; else its directory alone does.
    """
    found = [*_ends(state, condition, said, directory)]
    if chain.problem:
        found.append(Notice("bad", f"Its receipts do not hold: {chain.problem}."))
    if state.is_insecure:
        found.append(Notice("bad", "Its randomness was seeded for a test: nothing of this run is private."))
    found += [
        Notice(
            "bad",
            f"{blamed.site} broke the sealing protocol in round {blamed.round}: {blamed.reason}.",
            f"It takes no further part; {blamed.evidence} shows it to anybody who has the roster: "
            "take it to the coordinator.",
        )
        for blamed in state.blamed
    ]
    if condition == "running":
        found += _waits(state, now)
        found += _failures(state)
        found += [] if is_told_of else _silence(state, now)
    found += _deliveries(state, condition)
    return tuple(sorted(found, key=lambda notice: _ORDER[notice.tone]))


def server_notices(server: ServerFacts) -> tuple[Notice, ...]:
    """Of the server itself."""
    if server.status is None:
        return (
            Notice(
                "warn",
                f"The server does not answer: {server.problem}.",
                "What is shown of its runs was read from their directories.",
            ),
        )
    found = [Notice("warn", f"{warning.rstrip('.')}.") for warning in server.status.warnings]
    if not server.status.up:
        found.append(Notice("warn", "The server is starting: sites cannot connect yet.", "Wait a minute."))
    found += [
        Notice("bad", f"Its process {process.name} is down.", "It is started again; the server's log says why.")
        for process in server.status.processes
        if process.pid is None
    ]
    return tuple(found)


def _ends(state: RunState, condition: Condition, said: str, directory: Path) -> Iterable[Notice]:
    name = directory.name
    if condition == "failed":
        yield Notice("bad", f"It failed: {(state.failure or said).rstrip('.')}.", _resumed(name), state.last_at)
    elif condition == "damaged":
        yield Notice("bad", f"It is damaged: {said.rstrip('.')}.")
    elif condition in ("stopped", "interrupted"):
        yield Notice("plain", "It was stopped; its finished rounds are kept.", _resumed(name), state.last_at)
    elif condition == "unapproved":
        yield Notice("warn", "It waits for another person's approval.", f"{said[:1].upper()}{said[1:].rstrip('.')}.")
    elif condition == "queued":
        yield Notice("plain", f"It waits for its turn: {said}.")


def _resumed(name: str) -> str:
    return f"To go on: sealora server resume {name}, or, of a simulation, the same command again with --resume."


def _waits(state: RunState, now: float) -> Iterable[Notice]:
    attendance = state.attendance
    if attendance is not None and state.is_greeted:
        for away in state.turned_away:
            yield Notice("warn", f"{away.name} is connected and takes no part: {away.reason}.")
        if attendance.missing:
            yield Notice(
                "warn",
                f"Not connected: {names_text(attendance.missing)}.",
                "Their operators start them with sealora-site run; sealora-site check says what is wrong there.",
            )
    stage = state.present_stage
    if stage is None:
        return
    if late := sorted(late_sites(state, now)):
        for_long = time_text(now - stage.began_at)
        yield Notice(
            "warn",
            f"{names_text(late)}: no answer to the stage {stage.name} for {for_long}, and all others have answered.",
            "The round goes on without them once the recipe's sites.stage_timeout is over; ask their operators.",
        )


def _silence(state: RunState, now: float) -> Iterable[Notice]:
    if state.last_at is not None and now - state.last_at > _SILENT_SECONDS:
        yield Notice(
            "warn",
            f"Nothing has happened for {time_text(now - state.last_at)}, and nothing says that it still runs.",
            "If its process has ended, go on with the same command and --resume, or start its server.",
            state.last_at,
        )


def _failures(state: RunState) -> Iterable[Notice]:
    lost = {site for site, condition in state.conditions.items() if condition == "lost"}
    newest = {failed.site: failed for failed in state.failures if failed.site in lost}
    blamed = {blamed.site for blamed in state.blamed}
    for failed in list(newest.values())[-_MOST_FAILURES:]:
        if failed.site not in blamed:
            yield Notice(
                "warn",
                f"{failed.site} dropped out in round {failed.round}, {failed.stage}: {failed.reason.rstrip('.')}.",
                "The round goes on without it; it counts again once it answers.",
            )
    if state.aborted:
        last = state.aborted[-1]
        yield Notice(
            "warn",
            f"{count_text(len(state.aborted), 'attempt')} given up so far, the last in round {last.round}: "
            f"{last.reason.rstrip('.')}.",
            "Nothing was unmasked in them, and the round was tried again.",
        )


def _deliveries(state: RunState, condition: Condition) -> Iterable[Notice]:
    lacking = sorted(set(state.roster) - set(state.delivered))
    if condition == "finished" and state.delivered and lacking:
        yield Notice(
            "plain",
            f"Its adapter waits for {names_text(lacking)}.",
            "They are offered it again whenever they connect.",
        )
