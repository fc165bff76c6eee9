"""`make audit`: nothing known, something known and nobody to ask are three answers; bandit's exceptions are ruff's."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest
from deploy_files import PROJECT, PYPROJECT
from hypothesis import given
from hypothesis import strategies as st
from locks import constraints, locked

PACKAGES = ("common", "server", "client")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", PROJECT / "deploy" / "release" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks its module up
    spec.loader.exec_module(module)
    return module


AUDIT = load()
UNREACHED = "ERROR:pip_audit._cli:Tip: your network may be blocking this service. Try another service with `-s SERVICE`"
HOLE = {"id": "CVE-2020-1", "fix_versions": ["2.0"], "aliases": [], "description": ""}


def clean(name: str) -> dict[str, Any]:
    return {"name": name, "version": "1.0", "vulns": []}


def skipped(name: str) -> dict[str, Any]:
    return {"name": name, "skip_reason": "not found"}


def holed(name: str) -> dict[str, Any]:
    return {"name": name, "version": "1.0", "vulns": [HOLE]}


def told(monkeypatch: pytest.MonkeyPatch, status: int, report: str, errors: str = "") -> int:
    """The exit status when pip-audit does this."""

    def pretend(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        with open(command[command.index("-o") + 1], "w") as file:
            file.write(report)
        return subprocess.CompletedProcess(command, status, "", errors)

    monkeypatch.setattr(AUDIT.subprocess, "run", pretend)
    return AUDIT.main()  # type: ignore[no-any-return]


def report(*entries: Mapping[str, Any]) -> str:
    return json.dumps({"dependencies": entries, "fixes": []})


def test_a_known_vulnerability_fails_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(monkeypatch, 1, report(clean("a"), skipped("b"), holed("c"))) == 1
    said = capsys.readouterr().out
    assert "c 1.0: CVE-2020-1, mended in 2.0: raise it in constraints.txt" in said
    assert "2 locked versions asked about, 1 known vulnerabilities; unknown to the service: b." in said


def test_no_service_is_said_and_is_no_failure_and_no_all_clear(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for status, left, errors in ((1, "", UNREACHED), (0, report(skipped("a"), skipped("b")), "No known")):
        assert told(monkeypatch, status, left, errors) == 0
        said = capsys.readouterr().out
        assert said.startswith("No vulnerability service answers here, so nothing is known")
        assert "0 known" not in said


def test_any_other_failure_is_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(monkeypatch, 1, "", "Traceback\nKeyError: 'x'") == 2
    assert told(monkeypatch, 1, report(clean("a")), "ERROR: late") == 2
    assert told(monkeypatch, 2, "", "") == 2
    assert capsys.readouterr().err.count("Error: pip-audit failed: ") == 3


@given(st.lists(st.sampled_from([clean, skipped, holed]), max_size=6), st.sampled_from(["", UNREACHED]))
def test_a_hole_that_was_reported_is_never_passed_over(kinds: list[Any], errors: str) -> None:
    entries = [kind(f"p{place}") for place, kind in enumerate(kinds)]
    holes = kinds.count(holed)
    found = AUDIT.read(1 if holes else 0, report(*entries), errors)
    assert (found is None) == (not set(kinds) - {skipped})
    if found is not None:
        assert len(found.known) == holes
        assert len(found.unanswered) == kinds.count(skipped)


def test_every_locked_distribution_is_asked_about_once() -> None:
    names = [name for lock in AUDIT.LOCKS if lock.stem != "build" for name in locked(lock)]
    assert len(names) == len(set(names))
    assert {*names, *locked(AUDIT.REQUIREMENTS / "build.txt")} == set(constraints())


def bandit(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bandit", "--quiet", "--configfile", "pyproject.toml", "--format", "json", *words]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_bandit_finds_nothing_and_would_find_something(tmp_path: Any) -> None:
    done = bandit("--recursive", *PACKAGES)
    assert done.returncode == 0, done.stdout
    totals = json.loads(done.stdout)["metrics"]["_totals"]
    assert totals["loc"] > 10_000
    (tmp_path / "holed.py").write_text("import pickle\nimport sys\n\npickle.load(sys.stdin.buffer)\n")
    assert bandit(str(tmp_path / "holed.py")).returncode == 1


def test_what_bandit_leaves_to_ruff_ruff_judges_and_each_exception_has_its_reason() -> None:
    text = (PROJECT / "pyproject.toml").read_text()
    skips = PYPROJECT["tool"]["bandit"]["skips"]
    assert skips
    assert set(PYPROJECT["tool"]["bandit"]) == {"skips"}
    lint = PYPROJECT["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert not [rule for rule in lint["ignore"] if rule.startswith("S")]
    assert not [path for path in lint["per-file-ignores"] if path.startswith(PACKAGES)]
    for skip in skips:
        (reason,) = re.findall(rf'^  "{skip}", # (.+)$', text, re.MULTILINE)
        assert (f"S{skip[1:]}" in reason) or skip == "B404"
    marks = [
        line
        for package in PACKAGES
        for path in (PROJECT / package).rglob("*.py")
        for line in path.read_text().splitlines()
        if "# nosec" in line
    ]
    assert marks
    assert all(re.search(r"# nosec B\d{3}(, B\d{3})* # \w", line) for line in marks), marks


def test_ci_and_make_check_run_bandit_over_all_three_packages_and_ask_no_service() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    (words,) = re.findall(r"^BANDIT = \S+/bandit (.*)$", makefile, re.MULTILINE)
    assert words == f"--quiet --configfile pyproject.toml --recursive {' '.join(PACKAGES)}"
    recipe = dict(re.findall(r"^([a-z-]+): install\n((?:\t.*\n)+)", makefile, re.MULTILINE))
    assert "$(BANDIT)" in recipe["check"]
    assert "audit" not in recipe["check"]
    assert {"$(BANDIT)", "deploy/release/audit.py"} <= set(recipe["audit"].split())
    assert "make check" in (PROJECT / ".ci" / "run").read_text()
