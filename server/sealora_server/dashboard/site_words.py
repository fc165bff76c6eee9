"""How each site of a run is, from the run's state alone."""

from __future__ import annotations

from collections import Counter

from sealora_common.records.run_state import Bytes, RunState, SiteCondition, StageState
from sealora_server.dashboard.facts import SiteFacts, Tone
from sealora_server.view.live.progress import shown_stage
from sealora_server.view.live.stage_words import ANSWERED, WORKING

_LATE_TIMES = 2.0
_LATE_SECONDS = 20.0
_ORDER: dict[Tone, int] = {"bad": 0, "warn": 1}


def site_facts(
    state: RunState, now: float, *, is_over: bool, offline: frozenset[str] = frozenset()
) -> tuple[SiteFacts, ...]:
    """All sites that were ever named: those to be looked at first, then in the roster's order.

    Args:
        state: the run's.
        now: Unix seconds.
        is_over: whether nothing more happens of itself.
        offline: those that are not connected now, whatever they were before.
    """
    attendance = state.attendance
    missing = attendance.missing if attendance is not None and state.is_greeted else ()
    names = dict.fromkeys((*state.roster, *state.taking_part, *state.conditions, *missing))
    sums = Counter(site for survivors in state.survivors_of_rounds.values() for site in survivors)
    notes = _notes(state)
    late = frozenset() if is_over else late_sites(state, now)
    blamed = {blamed.site for blamed in state.blamed}
    found = []
    for name in names:
        word, tone = _word(state.conditions.get(name), shown_stage(state), is_over=is_over)
        if name in blamed:
            word, tone = "broke the protocol", "bad"
        elif name in missing or (name in offline and tone != "bad"):
            word, tone = "not connected", "idle" if is_over else "warn"
        elif name in late:
            word, tone = f"late: {word}", "warn"
        size, trained = state.bytes_of_sites.get(name, Bytes()), state.answer_seconds.get((name, "train"))
        found.append(
            SiteFacts(
                name=name,
                word=word,
                tone=tone,
                note=notes.get(name, "") if tone in ("bad", "warn") else "",
                answered_at=state.answered_at.get(name),
                in_sums=sums[name],
                sent=size.up,
                received=size.down,
                train_seconds=trained.seconds / trained.times if trained is not None else None,
            )
        )
    return tuple(sorted(found, key=lambda site: _ORDER.get(site.tone, 2)))


def late_sites(state: RunState, now: float) -> frozenset[str]:
    """Sites that let the others wait: most have answered, and they take more than twice what the slowest of them took.

    Args:
        state: the run's.
        now: Unix seconds.
    """
    stage = state.present_stage
    if stage is None or 2 * len(stage.answered) < len(stage.asked):
        return frozenset()
    slowest = max(stage.answer_seconds.values(), default=0.0)
    is_late = now - stage.began_at > max(_LATE_SECONDS, _LATE_TIMES * slowest)
    return frozenset(state.waiting_for) if is_late else frozenset()


def _word(condition: SiteCondition | None, stage: StageState | None, *, is_over: bool) -> tuple[str, Tone]:
    if condition is None:
        return "not heard of", "idle"
    if condition in ("away", "lost"):
        return ("takes no part" if condition == "away" else "dropped"), "bad"
    if is_over:
        return "done", "idle"
    if condition == "waiting" or stage is None:
        return "ready", "good"
    return (ANSWERED[stage.name], "good") if condition == "answered" else (WORKING[stage.name], "plain")


def _notes(state: RunState) -> dict[str, str]:
    """The newest reason that is known of each site."""
    notes = {failed.site: f"round {failed.round}, {failed.stage}: {failed.reason}" for failed in state.failures}
    notes |= {blamed.site: f"round {blamed.round}: {blamed.reason}" for blamed in state.blamed}
    return notes | {away.name: away.reason for away in state.turned_away}
