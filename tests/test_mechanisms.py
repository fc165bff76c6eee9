"""What a privacy mechanism decides is asked of its object: no other module compares its name with anything."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = {"local", "distributed", "none"}
OWN = "common/sealora_common/privacy/mechanisms/"
# They read the name from a run's written events, which may be of another version.
READERS = {f"server/sealora_server/view/{name}.py" for name in ("live_view", "plain_lines", "results")}


def compares_a_mechanism(source: str) -> bool:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Match) and is_mechanism(node.subject):
            return True
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            spelt = {each.value for side in sides for each in ast.walk(side) if isinstance(each, ast.Constant)}
            if any(map(is_mechanism, sides)) and spelt & NAMES:
                return True
    return False


def is_mechanism(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "mechanism") or (
        isinstance(node, ast.Name) and node.id == "mechanism"
    )


def test_no_module_but_the_mechanisms_compares_a_mechanism_s_name():
    files = [path for part in ("common", "server", "client") for path in sorted((ROOT / part).rglob("*.py"))]
    assert len(files) > 200
    found = {path.relative_to(ROOT).as_posix() for path in files if compares_a_mechanism(path.read_text())}
    assert {name for name in found if not name.startswith(OWN)} == READERS


@pytest.mark.parametrize(
    "source",
    ['x = recipe.privacy.mechanism == "none"', 'if mechanism in ("local", "none"): pass', 'y = "local" != a.mechanism'],
)
def test_a_comparison_is_found(source):
    assert compares_a_mechanism(source)
