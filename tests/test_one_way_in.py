"""What others wrote comes in through `sealora_common.config`, and goes out to people through `sealora_common.show`.

The packages' own source is read: a new place that goes around the one way fails here, with its file and line.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("common/sealora_common", "server/sealora_server", "server/sealora", "client/sealora_client")
READERS = "common/sealora_common/config/"
SHOWERS = "common/sealora_common/show/"
LOGS = "common/sealora_common/health/logs.py"

PARSERS = {"loads", "validate_json", "model_validate_json", "safe_load", "full_load", "unsafe_load", "parse_raw"}
"""Methods and functions that parse text, whatever they are called on."""
LOADERS = {"json", "yaml", "tomllib", "pickle", "marshal"}
"""Modules whose `load`, `load_all`, `parse`, `compose` and the like read text."""
DUMPERS = {"dumps", "dump", "safe_dump", "JSONDecodeError"}
WHOLE = {"read_text", "read_bytes", "readlines"}

INPUTS = {
    "common/sealora_common/entropy.py: read_text": "metadata of this installation, parsed by `json_value`",
    "server/sealora_server/deployment/superlink/client.py: FlowerError.from_json": "after `json_value`, same text",
    "common/sealora_common/dossier/verify_dossier.py: loads": "runs where nothing of Sealora is installed",
    "common/sealora_common/dossier/verify_dossier.py: read": "likewise",
    "client/sealora_client/data/spool.py: HIGHEST_PROTOCOL": "of what it puts aside itself",
    "client/sealora_client/data/spool.py: loads": "what it put aside itself, in a file that has no name",
    "client/sealora_client/data/templates/control.py: loads": "what the tokenizer's library writes of a loaded one",
    "client/sealora_client/data/templates/worker.py: loads": "what its own parent asks",
    "client/sealora_client/data/templates/worker.py: read": "the kernel's figures, before any template",
    "client/sealora_client/training/devices/channel.py: HIGHEST_PROTOCOL": "of what it sends its own process",
    "client/sealora_client/training/devices/channel.py: loads": "what its own process sends, over a pipe",
    "client/sealora_client/fleet/connection.py: FlowerError.from_json": "after `json_value`, same text",
}
OUTPUTS = {
    "common/sealora_common/dossier/verify_dossier.py: print": "runs where nothing of Sealora is installed",
    "server/sealora_server/cli/roster.py: prompt": "its own word",
    "server/sealora_server/cli/run_life.py: prompt": "its own word",
    "server/sealora_server/cli/approving.py: confirm": "its own words",
    "client/sealora_client/cli/joining/passphrase.py: prompt": "its own word",
    "client/sealora_client/cli/joining/join.py: prompt": "its own words",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def opened_names(tree: ast.AST) -> set[str]:
    """Names that a `with` binds to what an `open` gave."""
    return {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name)
        and isinstance(item.context_expr, ast.Call)
        and name_of(item.context_expr.func).rpartition(".")[2] in ("open", "makefile", "fdopen")
    }


def name_of(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def ways_in(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Places that parse text or read a whole file by themselves: line and what they call."""
    files = opened_names(tree)
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.partition(".")[0] in LOADERS:
                yield from ((node.lineno, alias.name) for alias in names if alias.name not in DUMPERS)
            case ast.Attribute(attr=what) if what in PARSERS | WHOLE:
                yield node.lineno, what
            case ast.Attribute(attr=what, value=owner) if name_of(owner) in LOADERS and what not in DUMPERS:
                yield node.lineno, what
            case ast.Attribute(attr="from_json", value=ast.Name("FlowerError")):
                yield node.lineno, "FlowerError.from_json"
            case ast.Call(func=ast.Attribute(attr="json" | "errors" as what), args=[]):
                # `errors`: a `ValidationError`'s. `first_problem` and `first_reason` say what there is to say of it.
                yield node.lineno, what
            case ast.Call(func=ast.Attribute(attr="read" | "readline" as what, value=owner), args=[]):
                if name_of(owner) in files:
                    yield node.lineno, what
            case ast.For() | ast.comprehension() if name_of(node.iter) in files:
                yield node.iter.lineno, "lines"


TERMINAL = {"print", "Console", "rich.print", "rich.console.Console", "sys.stdout.write", "sys.stderr.write"}
ASKED = {"echo", "secho", "prompt", "confirm", "echo_via_pager"}
LOGGED = {"logging.Formatter", "logging.basicConfig", "Formatter", "basicConfig"}


def ways_out(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Places that write to a terminal or format a log line by themselves."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "rich" and any(a.name == "print" for a in node.names):
            yield node.lineno, "print"
        if isinstance(node, ast.Call):
            owner, _, last = (name := name_of(node.func)).rpartition(".")
            if name in TERMINAL | LOGGED or (owner in ("typer", "click") and last in ASKED):
                yield node.lineno, last


def found(ways, own: tuple[str, ...], excused: dict[str, str]) -> tuple[list[str], set[str]]:
    wrong, used = [], set()
    for path, tree in sources():
        for line, what in ways(tree):
            if path.startswith(own):
                continue
            used.add(f"{path}: {what}")
            if f"{path}: {what}" not in excused:
                wrong.append(f"{path}:{line}: {what}")
    return wrong, used


def test_text_of_others_is_parsed_by_the_bounded_reader_alone():
    wrong, used = found(ways_in, (READERS,), INPUTS)
    assert wrong == []
    assert set(INPUTS) <= used, "an exception that nothing needs any more"


def test_what_people_are_shown_is_made_safe_in_one_place():
    wrong, used = found(ways_out, (SHOWERS, LOGS), OUTPUTS)
    assert wrong == []
    assert set(OUTPUTS) <= used, "an exception that nothing needs any more"


AROUND_IN = [
    "import yaml\nyaml.safe_load(text)",
    "import yaml\nyaml.load(text, Loader=yaml.SafeLoader)",
    "from yaml import safe_load",
    "import json\njson.loads(text)",
    "import json\njson.load(file)",
    "from json import loads",
    "import tomllib\ntomllib.loads(text)",
    "Roster.model_validate_json(text)",
    "adapter.validate_json(text)",
    "problem = error.errors()[0]",
    "read = Roster.model_validate_json",
    "path.read_text()",
    "path.read_bytes()",
    "response.json()",
    "FlowerError.from_json(text)",
    "with path.open('rb') as file:\n    file.read()",
    "with open(path) as file:\n    file.readline()",
    "with open(path) as file:\n    for line in file:\n        pass",
    "with open(path) as file:\n    lines = [line for line in file]",
]
AROUND_OUT = [
    "print(text)",
    "import typer\ntyper.echo(text)",
    "from rich.console import Console\nConsole().print(text)",
    "from rich import print",
    "import sys\nsys.stdout.write(text)",
    "import logging\nlogging.Formatter('%(message)s')",
    "import logging\nlogging.basicConfig()",
]


@pytest.mark.parametrize("code", AROUND_IN)
def test_a_way_around_the_reader_is_seen(code):
    assert list(ways_in(ast.parse(code))) != []


@pytest.mark.parametrize("code", AROUND_OUT)
def test_a_way_around_what_makes_text_safe_is_seen(code):
    assert list(ways_out(ast.parse(code))) != []
