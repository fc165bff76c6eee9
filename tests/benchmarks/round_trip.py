"""What a sealed round costs besides training, with everything on this machine: 2, 8, 16 and 50 sites.

    python tests/benchmarks/round_trip.py --json          # about six minutes
    python tests/benchmarks/round_trip.py --sites 8 --no-flower --json

A real server (`sealora server run`: SuperLink, ServerApp and the TLS front in processes of their own, node
authentication on) and one process a site with Sealora's own Fleet loop, over TLS. Sites seal vectors as long as the
demo's (1.2 million parameters at 16 bits) that cost no time to train; fifty have short ones, of 8,192 parameters.
`seconds_N_sites` is the median length of a round after the first. `server_cpu_seconds_per_site_round` is the processor
time of all of the server's processes in these rounds, by site and round, with 16 sites. `flower_seconds_per_message` is
Flower's default way in the same minutes: a SuperLink and one SuperNode with subprocess isolation, no TLS, a message
without content; median over messages after the first.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", FLWR_TELEMETRY_ENABLED="0", FLWR_DISABLE_UPDATE_CHECK="1")
TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "server" / "deployment")]

PARAMETERS = 1_244_160
LIGHT_PARAMETERS, LIGHT_SITES = 8_192, 50
ROUNDS = 6
_CPU_SITES = 16
_SECONDS = 540


def main() -> None:
    """Runs everything and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--sites", type=int, nargs="*", default=[2, 8, _CPU_SITES, LIGHT_SITES])
    parser.add_argument("--no-flower", action="store_true", help="leave Flower's own isolation out")
    options = parser.parse_args()
    figures: dict[str, Any] = {"parameters": PARAMETERS, "rounds": ROUNDS, "load_before": os.getloadavg()[0]}
    for count in options.sites:
        seconds, processor = _sealed_rounds(count, LIGHT_PARAMETERS if count == LIGHT_SITES else PARAMETERS)
        figures[f"seconds_{count}_sites"] = seconds
        if count == _CPU_SITES:
            figures["server_cpu_seconds_per_site_round"] = processor
        print(figures, file=sys.stderr, flush=True)
    if not options.no_flower:
        figures["flower_seconds_per_message"] = _flower()
    rounded = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps(rounded) if options.json else "\n".join(f"{key:32} {value}" for key, value in rounded.items()))


def _sealed_rounds(count: int, parameters: int) -> tuple[float, float]:
    """Median seconds of a round, and the server's processor time by site and round, in seconds."""
    import yaml
    from fleet_sites import FleetFederation
    from loop_sites import looping
    from running_server import make_server, run_status, running, said, status

    from sealora_common.adapter import AdapterLayout, TensorSpec
    from sealora_server.deployment.operator.messages import Submit
    from sealora_server.deployment.operator.socket import ask

    from pure_sites import pure_recipe

    recipe = pure_recipe(
        rounds=ROUNDS,
        model={"base": "none", "digest": "0" * 64},
        sealing={"ring_bits": 16, "min_survivors": 2, "adversary": "malicious"},
        sites={"minimum": 2, "stage_timeout": 120.0, "training_timeout": 120.0},
    )
    layout = AdapterLayout(
        (
            TensorSpec("base_model.model.q.lora_A.weight", (8, 64)),
            TensorSpec("base_model.model.q.lora_B.weight", (parameters // 8, 8)),
        )
    )
    with tempfile.TemporaryDirectory() as directory:
        server, identity = make_server(Path(directory) / "server")
        with running(server) as supervisor:
            address = f"https://localhost:{status(server).address.rpartition(':')[2]}"
            federation = FleetFederation(recipe, count, identity.public_key)
            for site in federation.sites:
                site.part.layout = layout
                site.part.deltas = partial(_no_training, parameters)
            roster = federation.roster.model_dump_json()
            text = yaml.safe_dump(recipe.model_dump(mode="json"))
            ask(server.operator_socket, Submit(name="bench", recipe=text, roster=roster))
            with looping(federation.sites, address, server.ca, Path(directory)):
                # The files are looked at, for asking the server how it is costs it time.
                rounds = server.runs / "bench" / "rounds"
                _wait_for(rounds / "0001" / "round.json", lambda: said(server))
                before = _processor_seconds(supervisor.pid)
                _wait_for(rounds / f"{ROUNDS:04d}" / "round.json", lambda: said(server))
                spent = _processor_seconds(supervisor.pid) - before
                while (shown := run_status(server, "bench")).condition == "running":
                    time.sleep(0.5)
            if shown.condition != "finished":
                raise SystemExit(f"the run failed: {shown.said}")
            records = [
                json.loads((server.runs / "bench" / "rounds" / f"{number:04d}" / "round.json").read_text())
                for number in range(2, ROUNDS + 1)
            ]
    return median(record["seconds"] for record in records), spent / (count * (ROUNDS - 1))


def _wait_for(file: Path, said: Callable[[], str]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not file.exists():
        if time.monotonic() > deadline:
            raise SystemExit(f"{file.name} of {file.parent.name} did not come in {_SECONDS} s: {said()}")
        time.sleep(0.05)


def _processor_seconds(supervisor: int) -> float:
    """Of a server's processes, those that have ended included."""
    import psutil

    process = psutil.Process(supervisor)
    living = [process, *process.children(recursive=True)]
    times = [each.cpu_times() for each in living]
    ended = times[0].children_user + times[0].children_system
    return float(sum(each.user + each.system for each in times) + ended)


def _no_training(parameters: int, name: str, round_number: int) -> Any:
    import numpy as np

    return np.full(parameters, 1e-3 * round_number, dtype=np.float32)


_APP = """
import time
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

server = ServerApp()
client = ClientApp()

@client.query("echo")
def echo(message, context):
    return Message(RecordDict(), reply_to=message)

@server.main()
def main(grid, context):
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(0.2)
    for _ in range(4):
        started = time.monotonic()
        sent = [Message(RecordDict(), dst_node_id=nodes[0], message_type="query.echo")]
        ids = list(grid.push_messages(sent))
        while not list(grid.pull_messages(ids)):
            time.sleep(0.1)
        print(f"seconds {time.monotonic() - started:.3f}", flush=True)
"""
_BUNDLE = """[project]
name = "echo"
version = "0.1.0"
dependencies = []
[tool.flwr.app]
publisher = "bench"
[tool.flwr.app.components]
serverapp = "echo_app:server"
clientapp = "echo_app:client"
[tool.hatch.build.targets.wheel]
packages = ["."]
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""


def _flower() -> float:
    """Median seconds of a message to one SuperNode with Flower's default isolation."""
    binaries = Path(sys.executable).parent
    port, node_port = _free_port(), _free_port()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "app").mkdir()
        (directory / "app" / "echo_app.py").write_text(_APP)
        (directory / "app" / "pyproject.toml").write_text(_BUNDLE)
        environment = {**os.environ, "FLWR_HOME": str(directory / "home"), "PATH": f"{binaries}:{os.environ['PATH']}"}
        (directory / "home").mkdir()
        connection = [
            "[superlink]",
            'default = "here"',
            "[superlink.here]",
            f'address = "127.0.0.1:{port}"',
            "insecure = true",
        ]
        (directory / "home" / "config.toml").write_text("\n".join(connection) + "\n")
        link = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port)]
        link += ["--disable-runtime-dependency-installation"]
        node = ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}", "--port", str(node_port)]
        with _process(link, environment, directory), _process(node, environment, directory):
            time.sleep(10)
            ran = subprocess.run(
                ["flwr", "run", str(directory / "app"), "here", "--stream"],
                env=environment,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
    seconds = [float(found) for found in re.findall(r"seconds (\d+\.\d+)", ran.stdout + ran.stderr)]
    if len(seconds) < 2:
        raise SystemExit(f"Flower's own run failed: {(ran.stdout + ran.stderr)[-2000:]}")
    return median(seconds[1:])


@contextmanager
def _process(command: list[str], environment: dict[str, str], directory: Path) -> Iterator[None]:
    with (directory / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [shutil.which(command[0], path=environment["PATH"]) or command[0], *command[1:]],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main()
