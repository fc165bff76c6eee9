"""A thousand rounds: what the processes hold stays what it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest
import yaml
from fleet_sites import FleetFederation
from loop_sites import looping
from running_server import make_server, run_status, running, said, status, until

from sealora_server.deployment.operator.messages import Submit
from sealora_server.deployment.operator.socket import ask

from pure_sites import pure_recipe

ROUNDS = 1000
SETTLED = 100
SPARE_MEGABYTES = 8
"""What a process may hold more in the end: 9 kB a round. The ServerApp's takes one, the SuperLink's five."""
SPARE = 8
"""Descriptors that come and go with connections; one that was left behind in every hundredth round would be seen."""


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    megabytes: float
    files: int
    threads: int

    @classmethod
    def by(cls, process: psutil.Process) -> Held:
        with process.oneshot():
            return cls(process.memory_info().rss / 2**20, process.num_fds(), process.num_threads())


def name_of(process: psutil.Process) -> str:
    """The module that it runs, or the supervisor."""
    line = process.cmdline()
    return line[line.index("-m") + 1].rpartition(".")[2] if "-m" in line else "supervisor"


@pytest.mark.slow
def test_a_thousand_rounds_leave_every_process_as_it_was(tmp_path):
    recipe = pure_recipe(
        rounds=ROUNDS,
        model={"base": "none", "digest": "0" * 64},
        sites={"minimum": 3, "stage_timeout": 60.0, "training_timeout": 60.0},
    )
    server, identity = make_server(tmp_path / "server")
    with running(server) as supervisor:
        address = f"https://localhost:{status(server).address.rpartition(':')[2]}"
        federation = FleetFederation(recipe, 3, identity.public_key)
        text = yaml.safe_dump(recipe.model_dump(mode="json"))
        ask(server.operator_socket, Submit(name="r1", recipe=text, roster=federation.roster.model_dump_json()))
        rounds = server.runs / "r1" / "rounds"

        def until_round(number: int) -> None:
            until((rounds / f"{number:04d}" / "round.json").exists, 3000, lambda: said(server)[-2000:])

        def everybody() -> Iterator[psutil.Process]:
            yield psutil.Process(supervisor.pid)
            yield from psutil.Process(supervisor.pid).children(recursive=True)

        with looping(federation.sites, address, server.ca, tmp_path) as sites:
            until_round(SETTLED)
            processes = {f"{name_of(each)} {each.pid}": each for each in everybody()}
            processes |= {f"site {each.pid}": psutil.Process(each.pid) for each in sites}
            before = {name: Held.by(process) for name, process in processes.items()}
            until_round(ROUNDS - 1)
            after = {name: Held.by(process) for name, process in processes.items() if process.is_running()}
            until(lambda: run_status(server, "r1").condition != "running", 60)
    assert run_status_is_finished(server.runs / "r1" / "events.jsonl")
    assert len(after) >= 3 + 3  # the server's processes and the sites
    for name, then in after.items():
        print(name, before[name], then)
        assert then.megabytes < before[name].megabytes + SPARE_MEGABYTES, name
        assert then.files <= before[name].files + SPARE, name
        assert then.threads <= before[name].threads + 2, name


def run_status_is_finished(events) -> bool:
    """Whether a run's log says that all its rounds are finished."""
    return events.read_text().count('"round_finished"') >= ROUNDS
