"""What the runs ask of the server: room on its disk, rosters that have not ended, and a clock that goes forward."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sealora_common.errors import SealoraError
from sealora_common.health.finding import Finding, failed, passed, warned
from sealora_common.records.event_log import read_events
from sealora_common.records.names import EVENTS
from sealora_common.roster import Roster
from sealora_common.show.moment_text import moment_text
from sealora_common.show.size_text import size_text
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.runs.submission import Operation
from sealora_server.run.store import RunStore
from sealora_server.upkeep.retention import AdapterRetention

_LEAST = 1 << 30
"""Bytes beside what runs are known to take: logs, receipts, and a round while it is written."""
_EARLY = timedelta(days=30)
_AHEAD_SECONDS = 60.0


def check_room(server: ServerDirectory) -> Iterator[Finding]:
    """Whether the rounds that runs have yet to do have room."""
    free = shutil.disk_usage(server.path).free
    needed, unknown = 0, []
    for store in _unfinished(server):
        more = bytes_to_come(store, server.config.adapters)
        if more is None:
            unknown.append(store.directory.name)
        else:
            needed += more
    said = f"{size_text(free)} free"
    if needed:
        said += f", and unfinished runs have yet to take about {size_text(needed)}"
    if unknown:
        said += f"; what {', '.join(unknown)} will take shows after the first round"
    if free < needed:
        yield failed("disk", f"{said}: free some, keep fewer adapters (`adapters` in server.yaml), or archive old runs")
    elif free < needed + _LEAST:
        yield warned("disk", f"{said}: that is little; archive and delete old runs before it runs out")
    else:
        yield passed("disk", said)


def bytes_to_come(store: RunStore, retention: AdapterRetention) -> int | None:
    """Bytes that a run's rounds will take beyond those of today, by its last one; None before the first."""
    done = store.finished_rounds
    left = store.recipe.rounds - done
    if left <= 0:
        return 0
    if not done:
        return None
    sizes = [(path, path.stat().st_size) for path in _files(store.round_directory(done))]
    small = sum(size for path, size in sizes if path.suffix == ".json" and path.parent.name != "adapter")
    adapter = sum(size for _, size in sizes) - small
    kept = left
    if retention.keep_last is not None:
        kept = min(left, max(0, retention.keep_last - done) + retention.keep_best)
        if retention.keep_every is not None:
            kept = min(left, kept + left // retention.keep_every + 1)
    return left * small + (kept + 2) * adapter  # the round being written, and the final adapter


def check_rosters(server: ServerDirectory) -> Iterator[Finding]:
    """Whether the rosters of unfinished runs hold for long enough."""
    now, sound = datetime.now(UTC), []
    for store in _unfinished(server):
        name = store.directory.name
        try:
            roster = Roster.load(store.directory / "roster.json")
        except SealoraError as error:
            yield failed("roster", f"run {name}: {error}")
            continue
        remedy = f"have the coordinator sign it anew, then `sealora server use-roster {name}`"
        if roster.has_expired(now):
            yield failed("roster", f"run {name}: expired {roster.expires}: {remedy}")
        elif roster.has_expired(now + _EARLY):
            yield warned("roster", f"run {name}: expires {roster.expires}: {remedy}")
        else:
            sound.append(name)
    if sound:
        yield passed("roster", f"in force for {', '.join(sound)}")


def check_clock(server: ServerDirectory) -> Finding:
    """Whether this machine's clock is behind what its own runs have written; sites compare theirs with it."""
    now = time.time()
    newest = 0.0
    for path in server.runs.glob(f"*/{EVENTS}"):
        newest = max([newest, *(entry.time for entry in read_events(path)[-1:])])
    if newest > now + _AHEAD_SECONDS:
        return failed(
            "clock", f"a run's last event is of {moment_text(newest)}, which is to come: set the clock, by NTP"
        )
    return passed("clock", f"{moment_text(now)}; sites refuse a server whose clock is far off theirs")


def _unfinished(server: ServerDirectory) -> Iterator[RunStore]:
    for directory in sorted(server.runs.glob("*")):
        if directory.name.startswith(".") or Operation.load(directory).condition == "finished":
            continue
        try:
            yield RunStore.open(directory)
        except SealoraError:  # said where the server is asked
            continue


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]
