"""The compose files, as compose itself reads them: hardened, of one mind with the images and with the code."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from typing import Any

import pytest
import yaml
from deploy_files import (
    ACCOUNT,
    DEPLOY,
    FRONT_PORT,
    STOP_SECONDS,
    VERSION,
    check_command,
    check_environment,
    tool,
)
from dockerfile import command, environment, health_check, last

from sealora_common.identity import PASSPHRASE_FILE

FILES = {
    "server": ("compose.server.yaml",),
    "site-cpu": ("compose.site.yaml",),
    "site-cuda": ("compose.site.yaml", "compose.site.gpu.yaml"),
}
GIVEN = {
    "SEALORA_SITE": "/srv/hospital-a",
    "SEALORA_DATA": "/srv/records",
    "SEALORA_PASSPHRASE_FILE": "/srv/passphrase",
}


def compose(target: str, given: dict[str, str]) -> subprocess.CompletedProcess[str]:
    files = [word for name in FILES[target] for word in ("--file", str(DEPLOY / name))]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SEALORA_")}
    words = [tool("docker-compose"), *files, "config", "--format", "json"]
    return subprocess.run(words, env=kept | given, capture_output=True, text=True, check=False)


@pytest.fixture(params=FILES)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def project(target: str) -> dict[str, Any]:
    done = compose(target, GIVEN)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower()
    project: dict[str, Any] = json.loads(done.stdout)
    return project


@pytest.fixture
def service(project: dict[str, Any]) -> dict[str, Any]:
    (service,) = project["services"].values()
    assert isinstance(service, dict)
    return service


def test_the_service_has_no_rights_and_can_write_nowhere_but_to_its_volumes_and_a_small_tmp(
    target: str, service: dict[str, Any]
) -> None:
    assert service["read_only"] is True
    assert service["user"] == f"{ACCOUNT}:{ACCOUNT}"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    (tmpfs,) = service["tmpfs"]
    path, _, options = tmpfs.partition(":")
    assert path == environment(target)["HOME"]
    assert {"noexec", "nosuid", "nodev"} <= set(options.split(","))
    assert re.search(r"size=\d+[mg]", options)
    for opened in ("privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "userns_mode", "entrypoint"):
        assert not service.get(opened), opened


@pytest.mark.parametrize("name", ["compose.server.yaml", "compose.site.yaml"])
def test_no_core_is_dumped(name: str) -> None:
    """Read as it stands: compose prints a limit of nothing as nothing."""
    (service,) = yaml.safe_load((DEPLOY / name).read_text())["services"].values()
    assert service["ulimits"] == {"core": 0}


def test_the_service_is_bounded_restarted_and_given_time_to_stop(target: str, service: dict[str, Any]) -> None:
    limits = service["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory", "pids"}
    assert service["environment"]["OMP_NUM_THREADS"] == str(int(limits["cpus"]))
    assert service["restart"] == "unless-stopped"
    program, _ = command(target)
    assert int(service["stop_grace_period"].removesuffix("s")) > STOP_SECONDS[program]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


def test_the_health_check_is_the_image_s_own(target: str, service: dict[str, Any]) -> None:
    options, words = health_check(target)
    check = service["healthcheck"]
    assert check["test"] == ["CMD", *words]
    told = {"interval": check["interval"], "timeout": check["timeout"], "start-period": check["start_period"]}
    if "retries" in options:
        told["retries"] = str(check["retries"])
    assert {name: _seconds(value) for name, value in told.items()} == {
        name: _seconds(value) for name, value in options.items()
    }


def _seconds(value: str) -> int:
    minutes, seconds = re.fullmatch(r"(?:(\d+)m)?(\d+)s?", value).groups()  # type: ignore[union-attr]
    return 60 * int(minutes or 0) + int(seconds)


def test_the_image_is_the_dockerfile_s_under_the_project_s_version(target: str, service: dict[str, Any]) -> None:
    suffix = target.partition("-")[2]
    name = target.partition("-")[0]
    assert service["image"] == f"sealora-{name}:{VERSION}" + (f"-{suffix}" if suffix else "")
    assert service["build"]["target"] == target
    assert service["build"]["context"] == str(DEPLOY.parent)
    assert service["build"]["dockerfile"] == "deploy/Dockerfile"


def test_the_server_opens_the_front_s_port_and_a_site_opens_none(target: str, service: dict[str, Any]) -> None:
    ports = [port["target"] for port in service.get("ports", [])]
    assert ports == ([FRONT_PORT] if target == "server" else [])


def test_what_must_last_is_in_volumes_and_the_records_are_read_only(
    target: str, project: dict[str, Any], service: dict[str, Any]
) -> None:
    mounts = {mount["target"]: mount for mount in service["volumes"]}
    if target == "server":
        assert mounts.keys() == {last("server", "WORKDIR")}
        assert project["volumes"].keys() == {"state"}
        return
    _, arguments = command(target)
    directory = os.path.dirname(arguments[-1])
    assert mounts.keys() == {directory, "/data", environment(target)["SEALORA_CACHE"]}
    assert mounts["/data"]["read_only"] is True
    # A directory that is missing is an error, and not made anew under root.
    assert not any(mounts[path]["bind"].get("create_host_path", True) for path in (directory, "/data"))


def test_the_passphrase_is_a_file_and_no_variable(
    target: str, project: dict[str, Any], service: dict[str, Any]
) -> None:
    check_environment(service["environment"])
    if target == "server":
        assert "secrets" not in project
        return
    (secret,) = service["secrets"]
    assert service["environment"][PASSPHRASE_FILE] == secret["target"]
    assert project["secrets"][secret["source"]]["file"] == GIVEN[PASSPHRASE_FILE]


def test_a_site_keeps_its_host_name_and_only_the_gpu_variant_reserves_a_gpu(
    target: str, service: dict[str, Any]
) -> None:
    assert service["hostname"] == f"sealora-{target.partition('-')[0]}"
    devices = service["deploy"]["resources"].get("reservations", {}).get("devices", [])
    wanted = {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert devices == ([wanted] if target == "site-cuda" else [])


@pytest.mark.parametrize("missing", GIVEN)
def test_a_site_without_one_of_its_paths_is_refused_with_a_sentence(missing: str) -> None:
    done = compose("site-cpu", {name: value for name, value in GIVEN.items() if name != missing})
    assert done.returncode != 0
    assert re.search(rf"required variable {missing} is missing a value: name the", done.stderr)


@pytest.mark.parametrize(("file", "program"), [("server", "sealora"), ("site", "sealora-site")])
def test_the_commands_in_the_opening_comments_are_ones_that_the_program_takes(file: str, program: str) -> None:
    lines = (DEPLOY / f"compose.{file}.yaml").read_text().replace("\\\n#", "").splitlines()
    runs = [line.partition(f"run --rm {file} ")[2] for line in lines if f"run --rm {file} " in line]
    assert runs
    for arguments in runs:
        check_command(program, shlex.split(arguments))
