"""Each single check of the protocol is missed by some test: it is taken away in a copy, and the attacks run on that.

The checks are found in the source, so a new one without a test of its own fails here. A weakened copy that looks for a
rule that is gone would fail for that alone, which shows nothing: in the copy such tests are skipped.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = Path("common/sealora_common/secagg")
FILES = ("site.py", "site_review.py", "server.py", "unmasking.py", "faults.py")
LEFT_OUT = ("test_fuzz.py", "test_other_terms.py", "test_guessed_seed.py")
"""Attacks that take long and look at other things."""
ALSO = ("test_server.py", "test_faults.py")
"""Tests of what no attack gains by: an honest server's order in its own house, and evidence that cannot be read."""
EQUIVALENT: dict[tuple[str, str], str] = {}
"""Checks that no test can miss, by file and source: why."""


@dataclass(frozen=True)
class Check:
    """A statement that refuses something, by its place in the source."""

    file: str
    first: int
    last: int
    indent: int
    source: str


def checks(file: str) -> Iterator[Check]:
    """All `if ...: raise` without an else, and all calls that require something."""
    content = (ROOT / PACKAGE / file).read_text()
    for node in ast.walk(ast.parse(content)):
        raises = isinstance(node, ast.If) and not node.orelse and isinstance(node.body[-1], ast.Raise)
        requires = (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Attribute)
            and node.value.func.attr in ("require", "require_holders", "table", "_refuse_second")
        )
        if (raises or requires) and isinstance(node, ast.If | ast.Expr):
            tested = node.test if isinstance(node, ast.If) else node.value
            yield Check(file, node.lineno, node.end_lineno or 0, node.col_offset, ast.unparse(tested))


ALL = [check for file in FILES for check in checks(file)]


def without(check: Check | None, tree: Path) -> None:
    """Writes a copy of the protocol and its attacks in which one check is gone."""
    shutil.copytree(ROOT / "common", tree / "common", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "tests").mkdir()
    shutil.copytree(ROOT / "tests/common/secagg", tree / "tests/secagg", ignore=shutil.ignore_patterns("__pycache__"))
    for helper in (ROOT / "tests").glob("secagg_*.py"):
        shutil.copy(helper, tree / "tests")
    weakened = tree / "tests/secagg_weakened.py"
    content = weakened.read_text()
    rewritten = content.replace("assert source.count(rule) == 1, f", "source.count(rule) == 1 or pytest.skip(f")
    rewritten = rewritten.replace('as this test knows it"', 'as this test knows it")')
    assert "pytest.skip(" in rewritten
    weakened.write_text(rewritten)
    shutil.copy(ROOT / "pyproject.toml", tree)
    if check is None:
        return
    path = tree / PACKAGE / check.file
    lines = path.read_text().splitlines(keepends=True)
    lines[check.first - 1 : check.last] = [" " * check.indent + "pass\n"]
    path.write_text("".join(lines))


def fails(check: Check | None, tree: Path) -> bool:
    """Whether some attack's test fails without the check, or without any change at all."""
    without(check, tree)
    attacks = sorted((tree / "tests/secagg/attacks").glob("test_*.py"))
    chosen = [str(path) for path in attacks if path.name not in LEFT_OUT]
    chosen += [str(tree / "tests/secagg" / name) for name in ALSO]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-c",
            str(tree / "pyproject.toml"),
            *chosen,
        ],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tree / "common"), str(tree / "tests")])},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout[-2000:] + done.stderr[-2000:]
    return done.returncode == 1


def test_the_checks_are_found() -> None:
    assert len(ALL) > 50
    assert {check.file for check in ALL} == set(FILES)
    assert set(EQUIVALENT) <= {(check.file, check.source) for check in ALL}


@pytest.mark.slow
def test_the_attacks_pass_where_no_check_is_gone(tmp_path: Path) -> None:
    """Else every check would seem to be missed."""
    assert not fails(None, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("check", ALL, ids=[f"{check.file}:{check.first}" for check in ALL])
def test_each_check_is_missed(check: Check, tmp_path: Path) -> None:
    if (check.file, check.source) in EQUIVALENT:
        pytest.skip(EQUIVALENT[check.file, check.source])
    assert fails(check, tmp_path), f"no attack misses the check {check.source!r} of {check.file}"
