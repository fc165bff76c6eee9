"""What a privacy mechanism decides is asked of its object: no other module compares its name or knows its class."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest

from sealora_common.recipe.sections.privacy import MechanismName

ROOT = Path(__file__).parents[1]
NAMES = set(get_args(MechanismName))
OWN = "common/sealora_common/privacy/mechanisms/"
LOOKUPS = {f"{OWN}lookup.py", "client/sealora_client/training/choice.py"}
COMPARERS = {
    # It reads the name from a run's written events, which may be of another version.
    "common/sealora_common/records/run_state.py",
    # A site's operator lists names in its policy.
    "client/sealora_client/site/policy.py",
}
CLASSES = {"Local", "Distributed", "NoPrivacy", "LocalTraining", "DistributedTraining", "PlainTraining"}
# The steps of `none` are those of `local`.
KNOWERS = LOOKUPS | {"client/sealora_client/training/none.py"}


def compares_a_mechanism(source: str) -> bool:
    """Whether a mechanism's name decides something: with whatever it is compared, in whatever way."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Match) and is_mechanism(node.subject):
            return True
        if isinstance(node, ast.Compare) and any(map(is_mechanism, [node.left, *node.comparators])):
            return True
    return False


def looks_a_mechanism_up(source: str) -> bool:
    """Whether a mechanism's name chooses one of several: a table of all names, or a look into one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and is_mechanism(node.slice):
            return True
        if isinstance(node, ast.Dict):
            keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
            if len(keys & NAMES) > 1:
                return True
    return False


def imports_a_mechanism(source: str) -> bool:
    """Whether a mechanism's class is known there."""
    return any(
        isinstance(node, ast.ImportFrom) and {alias.name for alias in node.names} & CLASSES
        for node in ast.walk(ast.parse(source))
    )


def is_mechanism(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "mechanism") or (
        isinstance(node, ast.Name) and node.id == "mechanism"
    )


def modules() -> dict[str, str]:
    files = [path for part in ("common", "server", "client") for path in sorted((ROOT / part).rglob("*.py"))]
    assert len(files) > 200
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in files}


def test_no_module_but_the_named_ones_compares_a_mechanism_s_name():
    assert {name for name, source in modules().items() if compares_a_mechanism(source)} == COMPARERS


def test_a_name_becomes_an_object_in_one_place_of_each_package():
    assert {name for name, source in modules().items() if looks_a_mechanism_up(source)} == LOOKUPS


def test_only_the_lookups_know_the_classes():
    assert {name for name, source in modules().items() if imports_a_mechanism(source)} == KNOWERS


@pytest.mark.parametrize(
    "source",
    [
        'x = recipe.privacy.mechanism == "none"',
        'if mechanism in ("local", "none"): pass',
        'y = "local" != a.mechanism',
        "z = recipe.privacy.mechanism in SHARED",
        'match recipe.privacy.mechanism:\n    case "local": pass',
    ],
)
def test_a_comparison_is_found(source):
    assert compares_a_mechanism(source)


@pytest.mark.parametrize("source", ["x = TABLE[recipe.privacy.mechanism]", 'y = {"local": 1, "distributed": 2}[name]'])
def test_a_lookup_is_found(source):
    assert looks_a_mechanism_up(source)


def test_an_import_is_found():
    assert imports_a_mechanism("from sealora_common.privacy.mechanisms.local import Local")
