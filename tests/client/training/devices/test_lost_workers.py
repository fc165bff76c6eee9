"""A worker that ends, hangs or fails costs nothing but time; and workers end with the site's process."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from device_bench import device_recipe, prepared, records, same, trained

from sealora_client.data.population import Population
from sealora_client.fleet.stop import StopNow
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.clipped_groups import ClippedGroups, Group
from sealora_client.training.devices import group as group_module
from sealora_client.training.devices.group import STARTS, DeviceGroup
from sealora_client.training.devices.messages import Share
from sealora_client.training.devices.worker_process import WorkerLostError, WorkerProcess
from sealora_common.errors import ModelError

UNITS = Population.of(records())


@pytest.fixture(scope="module")
def two(model: AdaptedModel, base: Path) -> Iterator[DeviceGroup]:
    with prepared(model, device_recipe(base)) as devices:
        yield devices


def listening() -> set[Any]:
    """Where this process, the site's, can be connected to."""
    return {each.laddr for each in psutil.Process().net_connections("inet") if each.status == psutil.CONN_LISTEN}


LISTENING = listening()


def ready_again(devices: DeviceGroup, model: AdaptedModel, base: Path) -> None:
    """Waits until the worker that was started again has prepared."""
    place = devices._places[0]
    ends = time.monotonic() + 120
    while not place.is_ready:
        assert time.monotonic() < ends
        time.sleep(0.1)
        devices.prepare(device_recipe(base))
    place.starts = 1  # what one test did to it is not the next one's


class InTheMidst:
    """Does something while this process computes the first group of a sample, and the worker its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, happening: Callable[[], None]) -> None:
        self.groups = 0
        real = ClippedGroups.add

        def watched(groups: ClippedGroups, group: Group, total: torch.Tensor) -> Any:
            self.groups += 1
            if self.groups == 1:
                happening()
            return real(groups, group, total)

        monkeypatch.setattr(ClippedGroups, "add", watched)


def test_a_worker_has_pipes_and_no_socket(model: AdaptedModel, base: Path, two: DeviceGroup) -> None:
    ready_again(two, model, base)
    trained(model, device_recipe(base), UNITS, two)
    (worker,) = map(psutil.Process, two.pids)
    assert worker.net_connections("all") == []
    opened = [os.readlink(link) for link in Path(f"/proc/{worker.pid}/fd").iterdir()]
    assert not any(name.startswith("socket:") for name in opened)
    assert {name for name in opened if name.startswith("/")} <= {"/dev/null"}
    templates = worker.children()  # where its base model's template is rendered
    assert [name.partition(":")[0] for name in opened].count("pipe") == 2 + 2 * len(templates)
    assert all(each.net_connections("all") == [] for each in templates)
    assert len(worker.cmdline()) == 6  # a device and a number: nothing of the site's
    assert listening() == LISTENING


@pytest.mark.parametrize("error", [StopNow, ModelError])
def test_what_is_left_of_a_round_that_was_broken_off_is_no_part_of_the_next(
    model: AdaptedModel, base: Path, two: DeviceGroup, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def broken() -> None:
        raise error

    ready_again(two, model, base)
    recipe = device_recipe(base)
    with monkeypatch.context() as patch:
        InTheMidst(patch, broken)
        with pytest.raises(error):
            trained(model, recipe, UNITS, two)
    pids = two.pids
    assert same(trained(model, recipe, UNITS, two), trained(model, recipe, UNITS, None))
    assert two.pids == pids


KILLED, HANGS = (signal.SIGKILL, "was ended by SIGKILL"), (signal.SIGSTOP, "gave no answer for")


@pytest.mark.parametrize(
    ("mechanism", "number", "said"),
    [
        pytest.param("local", *KILLED, marks=pytest.mark.slow),
        pytest.param("local", *HANGS, marks=pytest.mark.slow),
        pytest.param("none", *KILLED, marks=pytest.mark.slow),
        pytest.param("none", *HANGS, marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_is_killed_or_hangs_in_the_midst_changes_no_bit(
    model: AdaptedModel,
    base: Path,
    two: DeviceGroup,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    mechanism: str,
    number: int,
    said: str,
) -> None:
    recipe = device_recipe(base, privacy={"mechanism": mechanism})
    ready_again(two, model, base)
    alone = trained(model, recipe, UNITS, None)
    two.prepare(recipe)
    (pid,) = two.pids
    with monkeypatch.context() as patch:
        patch.setattr(two, "_patience", 1.0)
        watched = InTheMidst(patch, lambda: os.kill(pid, number))
        with caplog.at_level(logging.ERROR):
            assert same(trained(model, recipe, UNITS, two), alone)
    assert not psutil.pid_exists(pid)
    (sentence,) = [record.getMessage() for record in caplog.records]
    assert sentence.startswith(f"devices: the worker on cpu (device 2), process {pid}, {said}")
    assert sentence.endswith("is computed by the site's own process, and it is started again")
    assert watched.groups > 2


@pytest.mark.slow
def test_one_that_was_lost_is_at_work_again(model: AdaptedModel, base: Path, two: DeviceGroup) -> None:
    ready_again(two, model, base)
    (pid,) = two.pids
    os.kill(pid, signal.SIGKILL)
    recipe = device_recipe(base)
    alone = trained(model, recipe, UNITS, None)
    assert same(trained(model, recipe, UNITS, two), alone)
    ready_again(two, model, base)
    (again,) = two.pids
    assert again != pid
    assert same(trained(model, recipe, UNITS, two), alone)
    assert two.pids == [again]


@pytest.mark.slow
def test_a_worker_that_is_lost_between_rounds_is_not_missed(model: AdaptedModel, base: Path, two: DeviceGroup) -> None:
    ready_again(two, model, base)
    os.kill(two.pids[0], signal.SIGKILL)
    recipe = device_recipe(base)
    assert same(trained(model, recipe, UNITS, two), trained(model, recipe, UNITS, None))


@pytest.mark.slow
def test_one_that_is_lost_again_and_again_is_left_alone(
    model: AdaptedModel, base: Path, two: DeviceGroup, caplog: pytest.LogCaptureFixture
) -> None:
    ready_again(two, model, base)
    recipe, place = device_recipe(base), two._places[0]
    alone = trained(model, recipe, UNITS, None)
    for _ in range(STARTS):
        for pid in two.pids:
            os.kill(pid, signal.SIGKILL)
            psutil.wait_procs([psutil.Process(pid)], timeout=5)
        assert same(trained(model, recipe, UNITS, two), alone)
    assert two.pids == []
    two.prepare(recipe)
    assert two.pids == []
    assert caplog.messages[-1].endswith("and the site goes on without it: start the site again")
    place.starts = 0


@pytest.mark.slow
def test_what_a_worker_cannot_do_it_says_in_a_word() -> None:
    worker = WorkerProcess("cpu", 1)
    try:
        worker.tell(Share(1, {}, [[]]))  # no round was begun
        with pytest.raises(WorkerLostError, match=r"^failed: AssertionError$"):
            worker.answer(60.0)
    finally:
        worker.end()


@pytest.mark.parametrize("program", ["/bin/false", "/no/such/program"])
def test_a_worker_that_does_not_start_is_told_before_the_site_joins(
    model: AdaptedModel, base: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    devices = DeviceGroup(model, ["cpu", "cpu"])
    with pytest.raises(
        ModelError, match=r"^site\.yaml: devices: the worker on cpu \(device 2\) [a-z ,]+.*leave the line out$"
    ):
        devices.prepare(device_recipe(base))
    assert devices.pids == []


def test_one_that_never_is_ready_is_not_waited_for_for_ever(
    model: AdaptedModel, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_module, "_TO_LOAD", 0.01)
    devices = DeviceGroup(model, ["cpu", "cpu"])
    with pytest.raises(ModelError, match="gave no answer"):
        devices.prepare(device_recipe(base))
    assert devices.pids == []


# What is opened, and what ends.


def test_a_worker_is_told_no_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"HF_TOKEN": "t", "SEALORA_PASSPHRASE_FILE": "/f", "DATABASE_URL": "u", "SEALORA_INSECURE_SEED": "1"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    worker = WorkerProcess("cpu", 1)
    try:
        environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
    finally:
        worker.end()
    names = {entry.partition(b"=")[0].decode() for entry in environment.split(b"\0")}
    assert {"PATH", "PYTHONPATH", "HF_HUB_OFFLINE"} <= names
    assert not names & secrets.keys()


@pytest.mark.slow
def test_a_worker_ends_with_the_site_s_process_before_it_is_ready() -> None:
    """Its pipe is all that it knows of it."""
    parent = "from sealora_client.training.devices.worker_process import *; import sys, time\n"
    parent += "print(WorkerProcess('cpu', 1).pid, flush=True); time.sleep(60)"
    site = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    assert site.stdout is not None
    worker = psutil.Process(int(site.stdout.readline()))
    site.kill()
    site.wait(10)
    assert psutil.wait_procs([worker], timeout=30)[0]


SITE = """
import sys, time, torch
from device_bench import *
torch.set_num_threads(1)
recipe = device_recipe(Path(sys.argv[1]))
model = AdaptedModel.load(recipe)
devices = DeviceGroup(model, ["cpu", "cpu"])
devices.prepare(recipe)
print(*devices.pids, flush=True)
while True:
    trained(model, recipe, Population.of(records(2000)), devices)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_site_s_process_however_that_ends(base: Path, number: int) -> None:
    """In the midst of a share, too."""
    here = Path(__file__).parents[2]
    places = os.pathsep.join([str(here), str(here.parent), *sys.path])
    site = subprocess.Popen(
        [sys.executable, "-c", SITE, base], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": places}
    )
    assert site.stdout is not None
    try:
        worker = psutil.Process(int(site.stdout.readline()))
        ends = time.monotonic() + 60
        while worker.cpu_percent(0.2) < 20:  # it waits, until it has a share
            assert time.monotonic() < ends
        worker.send_signal(signal.SIGTERM)  # as systemd does to all of a unit: it is for the site to say when
        time.sleep(0.3)
        assert worker.is_running()
    finally:
        site.send_signal(number)
    site.wait(10)
    gone, _ = psutil.wait_procs([worker], timeout=10)
    assert gone
