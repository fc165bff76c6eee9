"""The images: what goes in, under which account they run, what they start. No container engine is needed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from deploy_files import (
    ACCOUNT,
    DEPLOY,
    FRONT_PORT,
    HEALTH_PORTS,
    PROJECT,
    PYPROJECT,
    VERSION,
    check_command,
    check_environment,
    tool,
)
from dockerfile import FINAL, command, environment, health_check, last, layers, read_stages
from prometheus_client import CollectorRegistry

from sealora_common.health.http_server import HealthServer
from sealora_common.health.status import Health


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([tool("hadolint"), DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_all_images_are_built_on_one_python_pinned_by_digest_that_is_the_one_the_checks_run_for() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    (image,) = re.findall(r"^ARG PYTHON_IMAGE=(.*)$", text, re.MULTILINE)
    assert re.fullmatch(r"python:[\d.]+-slim-\w+@sha256:[0-9a-f]{64}", image)
    assert image.startswith(f"python:{PYPROJECT['tool']['mypy']['python_version']}.")
    stages = read_stages()
    assert {stage.base for stage in stages.values()} <= {"${PYTHON_IMAGE}", *stages}


@pytest.mark.parametrize("target", FINAL)
def test_an_image_runs_under_a_numbered_account_without_rights_and_gets_nothing_installed_after(target: str) -> None:
    made = layers(target)
    assert made[0].name == "runtime"
    assert last(target, "USER") == f"{ACCOUNT}:{ACCOUNT}"
    assert [name for name, _ in made[0].instructions][-2:] == ["USER", "WORKDIR"]
    runs = [said for stage in made for said in stage.all("RUN")]
    assert len(runs) == 1  # makes the account and the two directories
    assert not re.search(r"apt|gcc|build-essential|pip|curl|sudo|chmod", runs[0])
    assert f"useradd --uid {ACCOUNT} --gid {ACCOUNT} " in runs[0]
    assert f"install --directory --owner {ACCOUNT} --group {ACCOUNT} --mode 0700 /var/lib/sealora " in runs[0]
    assert made[-1].all("COPY") == [f"--from={target}-installed /opt/sealora /opt/sealora"]


def test_what_is_installed_is_a_wheel_of_ours_upon_the_locked_versions_of_its_side() -> None:
    stages = read_stages()
    assert stages["wheel"].all("RUN") == [
        "pip install --requirement /requirements/build.txt",
        "PIP_REQUIRE_HASHES=0 pip wheel --no-build-isolation --no-deps --wheel-dir /wheels .",
    ]
    assert {stages[name].base for name in ("wheel", "installer")} == {"locked"}
    assert stages["locked"].all("ENV") == ["PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all: PIP_REQUIRE_HASHES=1"]
    assert stages["locked"].all("COPY") == ["deploy/requirements /requirements"]
    locks = {"server": ["server"], "site-cpu": ["torch-cpu", "site"], "site-cuda": ["torch-cuda", "site"]}
    for target in FINAL:
        stage = stages[f"{target}-installed"]
        assert stage.base == "installer"
        (said,) = stage.all("RUN")
        assert re.findall(r"--requirement /requirements/(\S+)\.txt", said) == locks[target]
        assert all((PROJECT / "deploy" / "requirements" / f"{name}.txt").exists() for name in locks[target])
        *_, ours, check = said.split(" && ")
        assert ours.endswith("pip install --no-deps /wheels/*.whl")
        assert check.endswith("pip check")
    # An editable installation would honour SEALORA_INSECURE_SEED.
    assert not re.search(r"(-e|--editable)\b", " ".join(said for stage in stages.values() for said in stage.all("RUN")))
    assert "site-cpu" not in {stage.name for stage in layers("site-cuda")}


@pytest.mark.parametrize("target", FINAL)
def test_an_image_starts_a_command_that_its_program_takes(target: str) -> None:
    program, arguments = command(target)
    assert program in PYPROJECT["project"]["scripts"]
    assert program == ("sealora" if target == "server" else "sealora-site")
    check_command(program, arguments)
    assert last(target, "WORKDIR") == "/var/lib/sealora"
    named = [*arguments, environment(target).get("SEALORA_SERVER_CONFIG", "")]
    assert any(word.startswith("/var/lib/sealora/") for word in named)


@pytest.mark.parametrize("target", FINAL)
def test_an_image_names_where_its_programs_write_reports_to_nobody_and_fetches_nothing(target: str) -> None:
    variables = environment(target)
    check_environment(variables)
    assert variables["FLWR_TELEMETRY_ENABLED"] == "0"
    assert variables["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"
    written = {"HOME": "/tmp", "FLWR_HOME": "/tmp/flwr"}
    if target != "server":
        assert variables["HF_HUB_OFFLINE"] == variables["HF_HUB_DISABLE_TELEMETRY"] == "1"
        cache = "/var/cache/sealora"
        written |= {"SEALORA_CACHE": cache, "HF_HOME": f"{cache}/huggingface", "CUDA_CACHE_PATH": f"{cache}/cuda"}
    assert written.items() <= variables.items()


def test_the_server_shows_its_front_alone_and_a_site_shows_nothing() -> None:
    assert last("server", "EXPOSE") == str(FRONT_PORT)
    assert not [said for target in FINAL[1:] for stage in layers(target) for said in stage.all("EXPOSE")]


@pytest.mark.parametrize("target", FINAL)
def test_the_health_check_tells_a_process_that_works_from_one_that_cannot_and_from_none(target: str) -> None:
    options, words = health_check(target)
    assert words[0] == "python"
    program, _ = command(target)
    assert f"'127.0.0.1', {HEALTH_PORTS[program]}, timeout=" in words[2]
    assert float(re.findall(r"timeout=(\d+)", words[2])[0]) < float(options["timeout"].removesuffix("s"))

    def checked(port: int) -> int:
        script = words[2].replace(str(HEALTH_PORTS[program]), str(port))
        return subprocess.run([sys.executable, words[1], script], capture_output=True, check=False).returncode

    health = Health("part")
    with HealthServer("127.0.0.1:0", health, CollectorRegistry()) as server:
        port = server.address[1]
        assert checked(port) == 0
        health.fail("cannot go on")
        assert checked(port) == 1
    assert checked(port) != 0


def test_the_builder_gets_the_packages_and_nothing_else_of_the_checkout() -> None:
    patterns = (PROJECT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in patterns if line and not line.startswith("#")]
    assert patterns[0] == "*"
    let_in = {line.removeprefix("!") for line in patterns if line.startswith("!")}
    copied = {
        name
        for stage in read_stages().values()
        for said in stage.all("COPY")
        if not said.startswith("--from")
        for name in said.split()[:-1]
    }
    assert let_in == copied
    assert all((PROJECT / name).exists() for name in copied)
    packages = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {package.partition("/")[0] for package in packages} <= copied
    assert {PYPROJECT["project"]["readme"], *PYPROJECT["project"]["license-files"]} <= copied
    inside = [path for name in copied for path in (PROJECT / name).rglob("*")]
    assert not [path for path in inside if path.suffix in (".pem", ".key", ".sqlite", ".jsonl")]


def test_the_commands_in_the_opening_comment_build_every_image_under_its_version() -> None:
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line.startswith("#   docker build")]
    built = {re.findall(r"--target (\S+)", line)[0]: re.findall(r"--tag (\S+)", line)[0] for line in lines}
    assert built == {
        "server": f"sealora-server:{VERSION}",
        "site-cpu": f"sealora-site:{VERSION}-cpu",
        "site-cuda": f"sealora-site:{VERSION}-cuda",
    }
