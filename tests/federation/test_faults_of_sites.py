"""Faults at sites in whole runs of real processes: killed at every stage, cut off, answering late.

In every case the run ends, no finished round is lost, and each ledger holds one charge for each round, however often
its vector left. `pytest tests/federation/test_faults_of_sites.py -m slow -s` prints how long each fault
held the run up; docs/operations.md tells it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
from deployed import ROUNDS, SECONDS, TIMEOUT, Deployed, DeployedRun, DeployedSite
from running_server import said, until

from sealora_common.records.events import RoundAborted, RoundFinished, SiteFailed, Stage

pytestmark = pytest.mark.slow

MOMENTS = [
    ("train", "before"),
    ("train", "charged"),
    ("train", "after"),
    *((stage, moment) for stage in ("share", "check", "mask", "confirm", "open") for moment in ("before", "after")),
]


@pytest.fixture(scope="module")
def federation(tiny_base, tmp_path_factory) -> Iterator[Deployed]:
    with Deployed(tmp_path_factory.mktemp("deployed"), tiny_base()) as up:
        yield up


@pytest.fixture
def victim(federation) -> DeployedSite:
    return federation.sites["site-1"]


def until_stage(run: DeployedRun, stage: str, round_number: int) -> None:
    def reached() -> bool:
        return any((event.stage, event.round) == (stage, round_number) for event in run.events(Stage))

    until(reached, SECONDS, lambda: said(run.federation.server))


def finished_after(run: DeployedRun, moment: float) -> float:
    """Seconds from a moment (Unix time) to the end of the run, which must be a good one."""
    status = run.until_over()
    assert status.condition == "finished", status.said
    run.is_right()
    return run.seconds_since(moment)


def test_nothing_happens(federation):
    """What the others are compared with."""
    run = federation.submit("undisturbed")
    finished_after(run, 0.0)
    assert run.events(RoundAborted) == []
    first, second = [recorded.time for recorded in run.recorded() if isinstance(recorded.event, RoundFinished)]
    print(f"\nundisturbed: a round takes {second - first:.1f} s")


@pytest.mark.parametrize(("stage", "moment"), MOMENTS)
def test_a_site_that_is_killed_and_started_again(federation, victim, stage, moment):
    run = federation.submit(f"killed-{stage}-{moment}")
    victim.die_at(stage, ROUNDS, moment)
    victim.wait_for_death()
    died = time.time()
    first = (run.directory / "rounds" / "0001" / "round.json").read_bytes()
    victim.start()
    seconds = finished_after(run, died)
    assert (run.directory / "rounds" / "0001" / "round.json").read_bytes() == first
    charges = [row for row in victim.charges(run.run_id) if row.event.sample_rate < 1]
    # What was trained is kept and sent, or sent again, under its charge; what was not is trained under it.
    assert sum(row.round_number == ROUNDS for row in charges) == 1
    print(
        f"\nkilled at {stage}, {moment}: finished {seconds:.1f} s later, {len(run.events(RoundAborted))} attempts lost"
    )


@pytest.mark.parametrize("way", ["silent", "refused"])
def test_the_network_of_all_sites_is_cut_for_half_a_minute(federation, way):
    run = federation.submit(f"cut-{way}")
    until_stage(run, "train", ROUNDS)
    for site in federation.sites.values():
        site.network.cut(way)
    time.sleep(30)
    assert [event.round for event in run.events(RoundFinished)] == list(range(1, ROUNDS))  # they were cut off
    for site in federation.sites.values():
        site.network.mend()
    seconds = finished_after(run, time.time())
    print(f"\n30 s without a network ({way}): finished {seconds:.1f} s after its end")


def test_a_site_that_answers_later_than_the_deadline(federation, victim):
    """It stands still, as on a machine that swaps; the round's attempt ends without it, and it is in the next."""
    run = federation.submit("late")
    until_stage(run, "train", ROUNDS)
    assert victim.process is not None
    os.kill(victim.process.pid, signal.SIGSTOP)
    stopped = time.time()
    until(lambda: run.events(RoundAborted), TIMEOUT * 3, lambda: said(federation.server))
    waited = time.time() - stopped
    os.kill(victim.process.pid, signal.SIGCONT)
    seconds = finished_after(run, time.time())
    assert victim.name in run.events(RoundAborted)[0].reason
    assert f"no answer within {TIMEOUT:.0f} s" in {event.reason for event in run.events(SiteFailed)}
    print(f"\nlate: given up after {waited:.1f} s, finished {seconds:.1f} s after it was back")
