"""docs/deployment.md: what it tells a person to type is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
import yaml
from charts import chart_of, render, values_of
from deploy_files import DEPLOY, PROJECT, VERSION, check_command
from dockerfile import FINAL
from test_units import EXPOSURE

TEXT = (PROJECT / "docs" / "deployment.md").read_text()
BLOCKS = re.findall(r"```\w*\n(.*?)```", TEXT, re.DOTALL)
LINES = [line for block in BLOCKS for line in re.sub(r"\\\n *", "", block).splitlines()]


STARTERS = (
    r"docker compose .* run --rm (?:--env \S+ )?(server|site) (.*)",
    r"docker compose .* exec \w+ (sealora\S*) (.*)",
    r"kubectl exec .* -- (sealora\S*) (.*)",
    r"sudo -u \S+ /opt/sealora/bin/(sealora\S*) (.*)",
)
SERVICES = {"server": "sealora", "site": "sealora-site"}


def commands() -> Iterator[tuple[str, list[str]]]:
    """The command lines of ours, behind whatever starts them."""
    for line in LINES:
        for starter in STARTERS:
            if match := re.fullmatch(starter, line):
                yield SERVICES.get(match[1], match[1]), shlex.split(match[2])


def test_every_command_of_ours_is_one_that_the_program_takes() -> None:
    found = list(commands())
    assert len(found) >= 10
    for program, arguments in found:
        check_command(program, arguments)
    quoted = re.findall(r"`(?:env \S+ )?(sealora-site (?:rotate|model) [^`]+)`", TEXT)
    assert len(quoted) == 3
    for line in quoted:
        check_command("sealora-site", shlex.split(line)[1:])


def test_every_image_is_built_from_a_target_under_this_version() -> None:
    builds = [shlex.split(line) for line in LINES if line.startswith("docker build")]
    assert {words[words.index("--target") + 1] for words in builds} == set(FINAL)
    assert all(re.fullmatch(rf"sealora-\w+:{VERSION}(-\w+)?", words[words.index("--tag") + 1]) for words in builds)
    assert f"sealora-{VERSION}-py3-none-any.whl" in TEXT


def test_every_file_of_deploy_that_is_named_is_there() -> None:
    named = set(re.findall(r"deploy/[\w./-]*\w", TEXT))
    assert len(named) >= 8
    assert all((PROJECT / name).exists() for name in named), named


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("helm ")])
def test_every_helm_command_renders(line: str) -> None:
    words = shlex.split(line)
    chart = words[3].removeprefix("deploy/helm/")
    values = values_of(f"{chart}/minimal") if "--values" in words else {}
    for given in [words[place + 1] for place, word in enumerate(words) if word == "--set"]:
        name, _, value = given.partition("=")
        parsed = value.strip("{}").split(",") if value.startswith("{") else yaml.safe_load(value)
        for part in reversed(name.split(".")):
            parsed = {part: parsed}
        values |= parsed
    assert render(chart_of(f"{chart}/minimal"), values).error is None


def test_every_value_that_is_named_is_one_of_a_chart_s() -> None:
    known = {
        f"{section}.{name}"
        for path in DEPLOY.glob("helm/*/values.yaml")
        for section, entry in yaml.safe_load(path.read_text()).items()
        if isinstance(entry, dict)
        for name in entry
    }
    named = set(re.findall(r"`((?:networkPolicy|metrics|tls|data)\.\w+)", TEXT))
    assert len(named) >= 5
    assert named <= known


def test_the_exposure_is_the_one_that_is_tested() -> None:
    assert f"{EXPOSURE['sealora-server']} of 10 for the server and {EXPOSURE['sealora-site']} for a site" in TEXT
