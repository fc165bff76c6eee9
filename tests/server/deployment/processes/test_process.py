"""Processes that end with their supervisor, get their settings unseen, and are started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from pydantic import BaseModel

from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.processes.process import ProcessSpec, RunningProcess, clean_environment
from sealora_server.deployment.processes.restarts import QUICK_SECONDS, RestartPolicy
from sealora_server.deployment.processes.service import Service

SECONDS = 20.0
CHILD = """
import json, os, sys, time
from sealora_server.deployment.processes.process import die_with

settings = json.load(sys.stdin)
die_with(settings["supervisor"])
print("pid", os.getpid(), flush=True)
print("seen", settings["word"] in open(f"/proc/{os.getpid()}/cmdline").read(), flush=True)
exec(settings["code"])
"""
SUPERVISOR = """
import asyncio, os, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from test_process import Settings, spec
from sealora_server.deployment.processes.process import RunningProcess

async def main():
    await RunningProcess.start(spec("time.sleep(60)"), lambda line: print(line, flush=True))
    await asyncio.sleep(60)

asyncio.run(main())
"""


class Settings(BaseModel):
    supervisor: int
    word: str
    code: str


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "child_of_a_test.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


def spec(code: str, *, has_children: bool = False) -> ProcessSpec:
    settings = Settings(supervisor=os.getpid(), word="x9", code=code)
    return ProcessSpec("the child", "child_of_a_test", lambda: settings, has_children=has_children)


async def lines_of(code: str) -> tuple[list[str], int]:
    lines: list[str] = []
    process = await RunningProcess.start(spec(code), lines.append)
    return lines, await asyncio.wait_for(process.wait(), SECONDS)


def test_it_gets_its_settings_where_no_other_account_sees_them_and_its_lines_come_back():
    lines, status = asyncio.run(lines_of("print('out'); print('err', file=sys.stderr, flush=True); sys.exit(7)"))
    assert lines[1] == "seen False"
    assert sorted(lines[2:]) == ["err", "out"]
    assert status == 7


def test_a_line_without_end_does_no_harm():
    lines, status = asyncio.run(lines_of("print('a' * 500_000); print('last')"))
    assert (lines[-1], status) == ("last", 0)


def test_it_is_asked_to_end_and_then_ended():
    async def stop(code: str) -> tuple[int, float]:
        ready = asyncio.Event()
        process = await RunningProcess.start(spec(code), lambda line: ready.set() if line == "ready" else None)
        await asyncio.wait_for(ready.wait(), SECONDS)
        began = time.monotonic()
        return await process.stop(0.5), time.monotonic() - began

    status, seconds = asyncio.run(stop("print('ready', flush=True); time.sleep(60)"))
    assert status == -signal.SIGTERM
    assert seconds < 0.5
    stubborn = "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    assert asyncio.run(stop(stubborn))[0] == -signal.SIGKILL


@pytest.mark.parametrize("status", [0, -signal.SIGKILL])
def test_what_a_process_leaves_behind_ends_with_it(status):
    """As nginx, whose workers outlive a master that is killed, and hold its port and its output open."""

    async def run() -> tuple[int, int]:
        found: list[int] = []
        lines = lambda line: found.append(int(line.split()[1])) if line.startswith("worker") else None  # noqa: E731
        code = "w = os.fork()\nif not w: time.sleep(60)\nprint('worker', w, flush=True)\ntime.sleep(60 * stays)"
        process = await RunningProcess.start(spec(f"stays = {status < 0}\n{code}", has_children=True), lines)
        async with asyncio.timeout(SECONDS):
            while not found:
                await asyncio.sleep(0.01)
            if status < 0:
                process.send(signal.SIGKILL)
            return await process.wait(), found[0]

    ended, worker = asyncio.run(run())
    assert ended == status
    deadline = time.monotonic() + 5
    while is_alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_nothing_outlives_a_supervisor_that_is_killed():
    here = [str(Path(__file__).parent), str(Path(__file__).parents[3])]
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, *here], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    child = int(supervisor.stdout.readline().split()[1])
    supervisor.stdout.readline()
    assert is_alive(child)
    supervisor.kill()
    supervisor.wait()
    deadline = time.monotonic() + 5
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_whose_supervisor_is_another_than_it_was_told_ends_at_once():
    async def start() -> tuple[list[str], int]:
        lines: list[str] = []
        orphan = ProcessSpec("the child", "child_of_a_test", lambda: Settings(supervisor=1, word="x9", code="pass"))
        process = await RunningProcess.start(orphan, lines.append)
        return lines, await asyncio.wait_for(process.wait(), SECONDS)

    if os.getppid() == 1:
        pytest.skip("this process is a child of process 1 itself")
    lines, status = asyncio.run(start())
    assert (lines, status) == (["the supervisor died before this process was up"], 1)


def test_flower_s_settings_of_the_account_do_not_reach_a_process(monkeypatch):
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "1")
    monkeypatch.setenv("FLWR_INTERNAL_GRPC_CONTROL_API", "1")
    monkeypatch.setenv("KEPT", "yes")
    environment = clean_environment()
    assert {name: value for name, value in environment.items() if name.startswith("FLWR_")} == {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    }
    assert environment["KEPT"] == "yes"


def test_a_service_that_dies_is_started_again_and_set_up_again():
    policy = partial(RestartPolicy, first_delay=0.01)
    starts: list[int] = []

    async def when_started() -> None:
        starts.append(1)

    async def run() -> Service:
        service = Service(spec("time.sleep(60)"), lambda line: None, when_started, policy=policy)
        keeping = asyncio.create_task(service.keep_running())
        for _ in range(2):
            before = len(starts)
            pid = await asyncio.wait_for(pid_of(service), SECONDS)
            while len(starts) == before:
                await asyncio.sleep(0.01)
            os.kill(pid, signal.SIGKILL)
            while service.status.pid == pid:
                await asyncio.sleep(0.01)
        await asyncio.wait_for(pid_of(service), SECONDS)
        assert service.restarts == 2
        keeping.cancel()
        await service.stop(1.0)
        return service

    assert asyncio.run(run()).status.pid is None


def test_a_service_that_keeps_dying_is_given_up_with_its_last_words():
    policy = partial(RestartPolicy, first_delay=0.0)

    async def run() -> None:
        dying = spec("print('the port is taken'); sys.exit(3)")
        await Service(dying, lambda line: None, policy=policy).keep_running()

    with pytest.raises(DeploymentError) as caught:
        asyncio.run(run())
    assert str(caught.value) == (
        "the child ended with status 3 5 times within 10 s of its start (the port is taken): mend that, then start "
        "the server again"
    )


def test_what_is_to_be_done_at_a_start_is_tried_until_it_succeeds():
    attempts: list[int] = []

    async def run() -> None:
        async def when_started() -> None:
            attempts.append(1)
            if len(attempts) < 3:
                raise DeploymentError("not now")

        service = Service(spec("time.sleep(60)"), lambda line: None, when_started, again_after=0.01)
        keeping = asyncio.create_task(service.keep_running())
        async with asyncio.timeout(SECONDS):
            while len(attempts) < 3:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert not keeping.done()
        keeping.cancel()
        await service.stop(1.0)

    asyncio.run(run())
    assert len(attempts) == 3


def test_quick_deaths_count_and_slow_ones_forgive():
    policy = RestartPolicy(patience=3)
    assert [policy.delay_after(1.0), policy.delay_after(1.0)] == [0.25, 0.5]
    assert policy.delay_after(QUICK_SECONDS) == 0.25
    assert [policy.delay_after(1.0), policy.delay_after(1.0), policy.delay_after(1.0)] == [0.25, 0.5, None]


def test_the_delay_is_bounded():
    assert RestartPolicy(patience=100, quick_deaths=50).delay_after(0.0) == 8.0


async def pid_of(service: Service) -> int:
    while service.status.pid is None:
        await asyncio.sleep(0.01)
    return service.status.pid


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False
