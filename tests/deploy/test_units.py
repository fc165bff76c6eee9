"""The systemd units: systemd itself reads them, and what they start and name is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from deploy_files import DEPLOY, PYPROJECT, STOP_SECONDS, check_command, check_environment, tool
from dockerfile import environment

from sealora_common.identity import PASSPHRASE_FILE
from sealora_server.deployment import supervisor

UNITS = ("sealora-server", "sealora-site")
EXPOSURE = {"sealora-server": 1.2, "sealora-site": 1.5}
"""Most that `systemd-analyze security` may find, of 10; docs/deployment.md names what is left."""
HARDENING = {
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "RestrictSUIDSGID=yes",
    "PrivateUsers=yes",
    "KeyringMode=private",
    "RemoveIPC=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateMounts=yes",
    "PrivateDevices=yes",
    "DevicePolicy=closed",
    "ProtectProc=invisible",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "LockPersonality=yes",
    "RestrictRealtime=yes",
    "RestrictNamespaces=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "StateDirectoryMode=0700",
    "UMask=0077",
    "LimitCORE=0",
    "Restart=on-failure",
}
ONLY = {
    "sealora-server": {
        "Type=notify",
        "KillMode=mixed",
        "ProcSubset=pid",
        "MemoryDenyWriteExecute=yes",
        "SystemCallFilter=~@privileged @resources",
    },
    "sealora-site": {"Type=exec", "CacheDirectoryMode=0700", "SystemCallFilter=~@privileged"},
}


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith(("#", "["))]


def settings(path: Path) -> dict[str, list[str]]:
    """Setting -> its values, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in lines_of(path):
        name, _, value = line.partition("=")
        found[name].append(value)
    return found


def variables(*paths: Path) -> dict[str, str]:
    """The environment that units and drop-ins set."""
    words = [word for path in paths for value in settings(path)["Environment"] for word in value.split()]
    return dict(word.split("=", 1) for word in words)


@pytest.fixture(params=UNITS)
def unit(request: pytest.FixtureRequest) -> Path:
    return DEPLOY / "systemd" / f"{request.param}.service"


@pytest.fixture
def installed(unit: Path, tmp_path: Path) -> Path:
    """The unit and its drop-ins as if installed, with this environment's programs for those of /opt/sealora."""
    for path in [unit, *unit.parent.glob(f"{unit.name}.d/*.conf")]:
        copy = tmp_path / path.relative_to(unit.parent)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(path.read_text().replace("/opt/sealora/bin", str(Path(sys.executable).parent)))
    return tmp_path / unit.name


def test_systemd_finds_nothing_wrong_with_the_unit_and_its_drop_ins(installed: Path) -> None:
    words = [tool("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", installed]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_systemd_finds_the_unit_little_exposed(unit: Path, tmp_path: Path) -> None:
    alone = tmp_path / unit.name  # the drop-in for a GPU opens devices
    alone.write_text(unit.read_text())
    words = [tool("systemd-analyze"), "security", "--offline=true", "--no-pager", alone]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    (level,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(level) <= EXPOSURE[unit.stem]


def test_the_unit_has_every_line_of_hardening(unit: Path) -> None:
    assert set(lines_of(unit)) >= HARDENING | ONLY[unit.stem]


def test_the_unit_starts_a_command_that_its_program_takes_in_its_state_directory(unit: Path) -> None:
    found = settings(unit)
    program, *arguments = shlex.split(found["ExecStart"][0])
    assert Path(program).parent == Path("/opt/sealora/bin")
    assert Path(program).name in PYPROJECT["project"]["scripts"]
    check_command(Path(program).name, arguments)
    assert found["User"] == found["Group"] == found["StateDirectory"] == [unit.stem]
    config = Path(arguments[arguments.index("--config") + 1])
    assert config.is_relative_to(f"/var/lib/{unit.stem}")
    assert int(found["TimeoutStopSec"][0]) > STOP_SECONDS[Path(program).name]


def test_the_unit_s_environment_is_read_and_is_that_of_the_image_in_its_own_directories(unit: Path) -> None:
    here = variables(unit, *unit.parent.glob(f"{unit.name}.d/*.conf"))
    check_environment(here)
    image = environment("server" if unit.stem == "sealora-server" else "site-cpu")
    moved = {name: value.replace("/var/cache/sealora", f"/var/cache/{unit.stem}") for name, value in image.items()}
    for name in ("PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "SEALORA_SERVER_CONFIG"):
        moved.pop(name, None)
    here.pop(PASSPHRASE_FILE, None)
    assert here == moved
    assert settings(unit)["CacheDirectory"] == ([unit.stem] if unit.stem == "sealora-site" else [])


def test_the_passphrase_is_a_credential_that_the_environment_names() -> None:
    path = DEPLOY / "systemd" / "sealora-site.service.d" / "passphrase.conf"
    name, _, source = settings(path)["LoadCredential"][0].partition(":")
    assert source.startswith("/etc/")
    assert variables(path) == {PASSPHRASE_FILE: f"%d/{name}"}


def test_the_drop_in_for_a_gpu_opens_nvidia_s_devices_and_no_others() -> None:
    assert set(lines_of(DEPLOY / "systemd" / "sealora-site.service.d" / "nvidia.conf")) == {
        "Wants=nvidia-persistenced.service",
        "After=nvidia-persistenced.service",
        "PrivateDevices=no",
        "DeviceAllow=char-nvidia rw",
        "DeviceAllow=char-nvidia-frontend rw",
        "DeviceAllow=char-nvidia-uvm rw",
    }


def test_the_server_tells_systemd_when_it_is_ready() -> None:
    """`Type=notify` waits for it, and would end a server that never says it."""
    assert 'notify("READY=1")' in Path(supervisor.__file__).read_text()
    timeout = settings(DEPLOY / "systemd" / "sealora-server.service")["TimeoutStartSec"][0]
    assert int(timeout) > supervisor._UP_SECONDS


def test_the_commands_in_the_opening_comments_are_ones_that_the_program_takes(unit: Path) -> None:
    quoted = re.findall(r"`(sealora(?:-site)? [^`]+)`", unit.read_text())
    assert quoted
    for line in quoted:
        program, *arguments = shlex.split(line)
        check_command(program, arguments)
