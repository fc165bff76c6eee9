"""What a sealed round costs besides training, with everything on this machine: 2, 8 and 16 sites.

    python tests/benchmarks/round_trip.py --json          # about five minutes
    python tests/benchmarks/round_trip.py --sites 8 --no-flower --json

A real server (`sealora server run`: SuperLink, ServerApp and the TLS front in processes of their own, node
authentication on) and one process a site with Sealora's own Fleet loop, over TLS. Sites seal vectors as long as the
demo's (1.2 million parameters at 16 bits) that cost no time to train. `seconds_N_sites` is the median length of a
round after the first. `flower_seconds_per_message` is Flower's default way in the same minutes: a SuperLink and one
SuperNode with subprocess isolation, no TLS, a message without content; median over messages after the first.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", FLWR_TELEMETRY_ENABLED="0", FLWR_DISABLE_UPDATE_CHECK="1")
TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "server" / "deployment")]

PARAMETERS = 1_244_160
ROUNDS = 6


def main() -> None:
    """Runs everything and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--sites", type=int, nargs="*", default=[2, 8, 16])
    parser.add_argument("--no-flower", action="store_true", help="leave Flower's own isolation out")
    options = parser.parse_args()
    figures: dict[str, Any] = {"parameters": PARAMETERS, "rounds": ROUNDS, "load_before": os.getloadavg()[0]}
    for count in options.sites:
        figures |= _sealed_rounds(count)
        print(figures, file=sys.stderr, flush=True)
    if not options.no_flower:
        figures["flower_seconds_per_message"] = _flower()
    rounded = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps(rounded) if options.json else "\n".join(f"{key:32} {value}" for key, value in rounded.items()))


def _sealed_rounds(count: int) -> dict[str, Any]:
    import yaml
    from fleet_sites import FleetFederation
    from running_server import make_server, run_status, running, said, status, until

    from sealora_common.adapter import AdapterLayout, TensorSpec
    from sealora_server.deployment.operator_messages import Submit
    from sealora_server.deployment.operator_socket import ask

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
            TensorSpec("base_model.model.q.lora_B.weight", (PARAMETERS // 8, 8)),
        )
    )
    with tempfile.TemporaryDirectory() as directory:
        server, identity = make_server(Path(directory) / "server")
        with running(server):
            address = f"https://localhost:{status(server).address.rpartition(':')[2]}"
            federation = FleetFederation(recipe, count, identity.public_key)
            for site in federation.sites:
                site.part.layout = layout
                site.part.deltas = _no_training
            roster = federation.roster.model_dump_json()
            text = yaml.safe_dump(recipe.model_dump(mode="json"))
            ask(server.operator_socket, Submit(name="bench", recipe=text, roster=roster))
            context = multiprocessing.get_context("fork")
            processes = [
                context.Process(target=_serve, args=(site, address, server.ca, Path(directory)), daemon=True)
                for site in federation.sites
            ]
            for process in processes:
                process.start()
            try:
                over = {"finished", "failed"}
                until(lambda: run_status(server, "bench").condition in over, 540, lambda: said(server))
            finally:
                for process in processes:
                    process.terminate()
            shown = run_status(server, "bench")
            if shown.condition != "finished":
                raise SystemExit(f"the run failed: {shown.said}")
            records = [
                json.loads((server.runs / "bench" / "rounds" / f"{number:04d}" / "round.json").read_text())
                for number in range(2, ROUNDS + 1)
            ]
    return {f"seconds_{count}_sites": median(record["seconds"] for record in records)}


def _no_training(name: str, round_number: int) -> Any:
    import numpy as np

    return np.full(PARAMETERS, 1e-3 * round_number, dtype=np.float32)


def _serve(site: Any, address: str, ca: Path, directory: Path) -> None:
    """One site's process: Sealora's Fleet loop, and an app without a model."""
    from flwr.app import Message

    from sealora_client.fleet.connection import FleetConnection
    from sealora_client.fleet.installed_app import InstalledApp
    from sealora_client.fleet.journal import Journal
    from sealora_client.fleet.link import PART, Link
    from sealora_client.fleet.loop import FleetLoop
    from sealora_client.fleet.stop import Stop
    from sealora_client.metrics import SiteMetrics
    from sealora_common.health.status import Health

    own = directory / site.name
    own.mkdir()
    metrics = SiteMetrics(site.name)
    stop = Stop()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def app(message: Message, context: Any) -> Message:
        return Message(site.part.answer(message.metadata.message_type, message.content), reply_to=message)

    connection = FleetConnection(address, site.key, ca)
    FleetLoop(
        connection,
        InstalledApp(app, own, metrics),
        journal=Journal(own, address),
        link=Link(address, Health(PART)),
        metrics=metrics,
        stop=stop,
    ).run()


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
