"""What the packages pass to one another says what it is: nothing public in `common` is annotated `Any`.

mypy forbids it in the packages of the seam itself (`disallow_any_explicit` in `pyproject.toml`); this reads all of
`common`, so that the exceptions are named, each with its reason.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMON = ROOT / "common" / "sealora_common"

EXCUSED = {
    "network/bounded_http.py: BoundedClient.send": "hands on what httpx takes",
    "secagg/ring.py: Segment.dtype": "of uint16 or uint32, as the segment's bits say",
}
SEAM = {"privacy", "receipts", "recipe", "records", "roster", "round"}


def annotations(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The annotations of public functions, methods and fields, each with whose it is."""
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if is_public(node.name):
                yield from of_function(node.name, node)
            case ast.ClassDef() if is_public(node.name):
                for member in node.body:
                    match member:
                        case ast.FunctionDef() | ast.AsyncFunctionDef() if is_public(member.name):
                            yield from of_function(f"{node.name}.{member.name}", member)
                        case ast.AnnAssign(target=ast.Name(id=name)) if is_public(name):
                            yield f"{node.name}.{name}", member.annotation


def of_function(name: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, ast.expr]]:
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    found = [argument.annotation for argument in every if argument is not None]
    yield from ((name, annotation) for annotation in [*found, function.returns] if annotation is not None)


def is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__init__"


def is_untyped(annotation: ast.expr) -> bool:
    """Whether `Any` is in it, or a `dict` of which it is not said what it holds."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return is_untyped(ast.parse(annotation.value, mode="eval").body)
    inside = {id(node.value) for node in ast.walk(annotation) if isinstance(node, ast.Subscript)}
    return any(
        (isinstance(node, ast.Name) and node.id == "Any")
        or (isinstance(node, ast.Attribute) and node.attr == "Any")
        or (isinstance(node, ast.Name) and node.id in {"dict", "Mapping"} and id(node) not in inside)
        for node in ast.walk(annotation)
    )


def test_nothing_public_in_common_is_annotated_any() -> None:
    untyped = {
        f"{path.relative_to(COMMON).as_posix()}: {name}"
        for path in sorted(COMMON.rglob("*.py"))
        for name, annotation in annotations(ast.parse(path.read_text(encoding="utf-8")))
        if is_untyped(annotation)
    }
    assert sorted(untyped - EXCUSED.keys()) == []
    assert sorted(EXCUSED.keys() - untyped) == [], "an exception that nothing needs any more"


def test_mypy_forbids_any_in_the_packages_of_the_seam() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["overrides"]
    modules = {name for entry in settings if entry.get("disallow_any_explicit") for name in entry["module"]}
    assert modules == {f"sealora_common.{name}.*" for name in SEAM}
    assert all((COMMON / name / "__init__.py").exists() for name in SEAM)


@pytest.mark.parametrize(
    ("source", "untyped"),
    [
        ("def f(a: Any) -> None: ...", True),
        ("def f(*, a: dict[str, Any]) -> None: ...", True),
        ("def f(**more: typing.Any) -> None: ...", True),
        ("async def f() -> list[Any]: ...", True),
        ("def f(a: dict) -> None: ...", True),
        ("def f(a: 'dict[str, Any]') -> None: ...", True),
        ("class C:\n    a: dict[str, Any]", True),
        ("class C:\n    def f(self, a: Any) -> None: ...", True),
        ("class C:\n    def __init__(self, a: Any) -> None: ...", True),
        ("class C:\n    _a: Any\n    def _f(self, a: Any) -> None: ...", False),
        ("def _f(a: Any) -> None: ...", False),
        ("def f(a: dict[str, int], b: object) -> Mapping[str, object]: ...", False),
    ],
)
def test_the_reading_of_annotations_reads(source: str, untyped: bool) -> None:
    assert any(is_untyped(annotation) for _, annotation in annotations(ast.parse(source))) is untyped
