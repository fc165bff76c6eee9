"""Server and site as a container holds them, without a container: in a mount namespace whose root is read-only, with a
/tmp that executes nothing, one writable volume, the image's environment, and no capability.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile import environment

from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.initialise import initialise
from sealora_server.deployment.operator.messages import AskStatus, Status
from sealora_server.deployment.operator.socket import ask

from tiny_federation import PRIVATE, prepare_run, write_federation

VOLUME = Path("/mnt")
"""Where the volume lies inside; every system has this directory."""
_START_SECONDS = 60.0
_CONFINE = f"""
set -e
mount --make-rprivate /
mount --bind "$0" {VOLUME}
mount -t tmpfs -o size=64m,mode=1777,noexec,nosuid,nodev tmpfs /tmp
mount -o remount,bind,ro /
if touch /written 2>/dev/null; then echo "the root can be written" >&2; exit 1; fi
cd {VOLUME}
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""
_SEALORA = [sys.executable, "-c", "from sealora_server.cli import main; main()"]
_SEALORA_SITE = [sys.executable, "-c", "from sealora_client.cli import main; main()"]


@pytest.fixture
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a short path, for the sockets in it; skips where no namespace may be made."""
    if Path(sys.executable).is_relative_to("/tmp"):
        pytest.skip("this Python lies under /tmp, which is another file system in there: this check did not run")
    made = tmp_path_factory.mktemp("v")
    tried = confined(made, "server", ["true"]).wait()
    if tried != 0:
        pytest.skip("this system lets no mount namespace be made: this check did not run")
    return made


def confined(volume: Path, target: str, command: list[str], **options: Any) -> subprocess.Popen[str]:
    """Starts a command in there, under an image's environment."""
    kept = {name: value for name, value in environment(target).items() if name not in ("PATH", "SEALORA_CACHE")}
    settings = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "SEALORA_CACHE": str(VOLUME / "cache"), **kept}
    namespaces = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    try:
        return subprocess.Popen(
            [*namespaces, "sh", "-c", _CONFINE, str(volume), *command], env=settings, text=True, **options
        )
    except FileNotFoundError:
        pytest.skip("unshare is not installed here: this check did not run")


@contextmanager
def running(volume: Path, server: ServerDirectory) -> Iterator[subprocess.Popen[str]]:
    """The server in there, up."""
    inside = str(VOLUME / server.config_file.relative_to(volume))
    with (volume / "output").open("w") as output:
        command = [*_SEALORA, "server", "run", "--config", inside]
        process = confined(volume, "server", command, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while "the server is up" not in (volume / "output").read_text():
                assert process.poll() is None, (volume / "output").read_text()
                assert time.monotonic() < deadline, (volume / "output").read_text()
                time.sleep(0.1)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=40)


def test_the_server_runs(volume: Path) -> None:
    server, _ = initialise(volume / "server", ["localhost"], listen="127.0.0.1:0")
    values = yaml.safe_load(server.config_file.read_text()) | {"health": {"http": "127.0.0.1:0"}}
    server.config_file.write_text(yaml.safe_dump(values))
    with running(volume, server) as process:
        status = ask(server.operator_socket, AskStatus())
        assert isinstance(status, Status)
        with urllib.request.urlopen(f"http://{status.health}/healthz") as response:
            assert response.status == 200
    assert process.returncode == 0


@pytest.mark.slow
def test_a_site_loads_its_model_and_trains_a_piece_of_a_round(volume: Path, tiny_base: Callable[..., Path]) -> None:
    shutil.copytree(tiny_base(), volume / "model")
    recipe = write_federation(volume / "federation", volume / "model", privacy=PRIVATE)
    prepare_run(recipe, volume / "run")
    site = volume / "run" / "sites" / "site-0"
    for path in (site / "recipe.yaml", site / "site.yaml"):
        path.write_text(path.read_text().replace(str(volume), str(VOLUME)))
    inside = str(VOLUME / (site / "site.yaml").relative_to(volume))
    command = [*_SEALORA_SITE, "check", "--json", "--config", inside]
    process = confined(volume, "site-cpu", command, stdout=subprocess.PIPE)
    said, _ = process.communicate(timeout=300)
    findings = {finding["check"]: finding for finding in json.loads(said)["checks"]}
    assert {findings[name]["status"] for name in ("disk", "base model", "memory", "time")} == {"pass"}
    assert "training peaked" in findings["memory"]["said"]
