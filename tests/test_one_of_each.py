"""There is one file lock, one way to flush, one maker of TLS contexts, one parser of addresses, one sentence on wrong
settings, one text for sizes, one for durations and one pattern for names. The packages' own source is read: a second
one fails here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("common/sealora_common", "server/sealora_server", "server/sealora", "client/sealora_client")

HOMES = {
    "file lock": "common/sealora_common/storage/lock.py",
    "flush to the disk": "common/sealora_common/storage/",
    "TLS context": "common/sealora_common/network/tls.py",
    "address parser": "common/sealora_common/network/address.py",
    "sentence on settings": "common/sealora_common/config/",
    "text for sizes": "common/sealora_common/show/size_text.py",
    "text for durations": "common/sealora_common/show/duration_text.py",
    "pattern for names": "common/sealora_common/config/name.py",
}
EXCUSED = {
    ("server/sealora_server/cli/server.py", "address parser"): "an account and its group, user:group",
}

CONTEXTS = {"SSLContext", "create_default_context", "_create_unverified_context", "_create_default_https_context"}
URL_PARSERS = {"urlsplit", "urlparse"}
SPLITTERS = {"split", "rsplit", "partition", "rpartition"}
SIZE = re.compile(r"\b[KMG]iB\b")
DURATION = re.compile(r"^ (?:min|h)\b")


def things(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Lines with something of which there is one, and what it is."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) if any(alias.name == "fcntl" for alias in names):
                yield node.lineno, "file lock"
            case ast.ImportFrom(module="fcntl" | "filelock"):
                yield node.lineno, "file lock"
            case ast.Attribute(attr="fsync" | "fdatasync") | ast.alias(name="fsync" | "fdatasync"):
                yield node.lineno, "flush to the disk"
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in CONTEXTS:
                yield node.lineno, "TLS context"
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in URL_PARSERS:
                yield node.lineno, "address parser"
            case ast.Call(func=ast.Attribute(attr=name), args=[ast.Constant(value=":"), *_]) if name in SPLITTERS:
                yield node.lineno, "address parser"
            case ast.Name(id="first_problem" | "first_reason") | ast.Attribute(attr="first_problem" | "first_reason"):
                yield node.lineno, "sentence on settings"
            case ast.Constant(value=str(text)) if "a-z0-9-]" in text:
                yield node.lineno, "pattern for names"
            case ast.JoinedStr(values=parts):
                texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
                if any(map(SIZE.search, texts)):
                    yield node.lineno, "text for sizes"
                if any(map(DURATION.search, texts)):
                    yield node.lineno, "text for durations"


def test_there_is_one_of_each() -> None:
    found, seconds, excused = set(), [], set()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            for line, what in things(ast.parse(path.read_text(encoding="utf-8"))):
                if name.startswith(HOMES[what]):
                    found.add(what)
                elif (name, what) in EXCUSED:
                    excused.add((name, what))
                else:
                    seconds.append(f"{name}:{line}: a second {what}: use {HOMES[what]}")
    assert seconds == []
    assert found == HOMES.keys()
    assert excused == EXCUSED.keys(), "an exception that nothing needs any more"


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import fcntl", "file lock"),
        ("from fcntl import flock", "file lock"),
        ("from filelock import FileLock", "file lock"),
        ("os.fsync(descriptor)", "flush to the disk"),
        ("from os import fsync", "flush to the disk"),
        ("ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)", "TLS context"),
        ("create_default_context(cafile=ca)", "TLS context"),
        ("host, _, port = address.rpartition(':')", "address parser"),
        ("host, port = address.rsplit(':', 1)", "address parser"),
        ("urlsplit(address)", "address parser"),
        ("raise PolicyError(first_problem(error, 'site'))", "sentence on settings"),
        ("f'{count / 2**20:.0f} MiB'", "text for sizes"),
        ("f'{seconds / 60:.0f} min'", "text for durations"),
        ("Field(pattern=r'^[a-z][a-z0-9-]*$')", "pattern for names"),
    ],
)
def test_a_second_one_is_seen(source: str, what: str) -> None:
    assert what in [found for _, found in things(ast.parse(source))]


@pytest.mark.parametrize("source", ["def serve(context: ssl.SSLContext): ...", "name, _, value = line.partition('=')"])
def test_what_only_looks_like_one_is_left_alone(source: str) -> None:
    assert list(things(ast.parse(source))) == []
