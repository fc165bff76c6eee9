"""No folder of the packages is a flat bag, and no file too long: each holds no more than one can look over."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("common/sealora_common", "server/sealora_server", "server/sealora", "client/sealora_client")
PACKAGES = [ROOT / part for part in PARTS]
MOST = 14
MOST_LINES = 400
LARGER = {"common/sealora_common/secagg": "one protocol, read as a whole beside its papers"}


def folders() -> Iterator[tuple[str, list[str]]]:
    """Every folder with Python files, and the names of those."""
    for package in PACKAGES:
        for folder in sorted({path.parent for path in package.rglob("*.py")}):
            yield folder.relative_to(ROOT).as_posix(), sorted(path.name for path in folder.glob("*.py"))


def test_no_folder_holds_more_modules_than_a_reader_can_look_over():
    large = {name for name, files in folders() if len([file for file in files if file != "__init__.py"]) > MOST}
    assert large == LARGER.keys(), "group them by what they are about, as the folders beside them are"


@pytest.mark.parametrize("name", [name for name, _ in folders()])
def test_every_folder_says_what_belongs_there(name):
    init = ROOT / name / "__init__.py"
    assert init.exists(), f"{name} has no __init__.py"
    assert ast.get_docstring(ast.parse(init.read_text(encoding="utf-8")))


def test_no_file_of_packages_or_tests_is_longer_than_a_reader_can_hold():
    places = [*PACKAGES, ROOT / "tests", ROOT / "deploy"]
    files = [path for place in places for path in place.rglob("*.py")]
    assert {path.parent for path in files} >= {ROOT / "tests", *PACKAGES}
    lines = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in sorted(files)
    }
    long = {name: count for name, count in lines.items() if count > MOST_LINES}
    assert not long, "part them by subject; what several parts need is a module of its own beside them"
