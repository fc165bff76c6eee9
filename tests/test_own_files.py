"""Nothing in the packages makes a directory or writes a file but through `sealora_common.storage`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("common/sealora_common", "server/sealora_server", "server/sealora", "client/sealora_client")
PACKAGES = [ROOT / part for part in PARTS]

MAKERS = {
    "mkdir", "makedirs", "write_text", "write_bytes", "touch", "chmod", "fchmod", "umask", "mknod", "mkfifo",
    "symlink", "symlink_to", "link", "hardlink_to", "rename", "renames", "copy2", "copyfile", "copytree", "move",
    "mkstemp", "mkdtemp", "TemporaryFile", "NamedTemporaryFile", "TemporaryDirectory", "FileHandler",
    "RotatingFileHandler", "TimedRotatingFileHandler", "WatchedFileHandler", "save_pretrained", "save_file", "memmap",
    "extractall", "dump_to_file",
}  # fmt: skip
"""Calls (or base classes) that make or change a file or directory, by the last part of their name."""
OF_A_MODULE = {
    "os": {"open", "replace"},
    "shutil": {"copy"},
    "sqlite3": {"connect"},
    "io": {"FileIO", "open"},
    "np": {"save", "savez"},
    "torch": {"save"},
}
"""Those whose last part means other things elsewhere."""

# Where they are called all the same, and why that is as good.
ALLOWED = {
    ("common/sealora_common/storage/own_files.py", "*"): "this is the place",
    ("common/sealora_common/storage/nameless.py", "TemporaryFile"): "no name, so nobody's place to put something in",
    ("common/sealora_common/storage/durable.py", "mkstemp"): "a private file, in a directory that was judged",
    ("common/sealora_common/storage/durable.py", "fchmod"): "of that file, before anything is in it",
    ("common/sealora_common/storage/durable.py", "os.replace"): "to its final name, in the same directory",
    ("common/sealora_common/storage/durable.py", "io.FileIO"): "over a descriptor of `open_own`",
    ("common/sealora_common/storage/new_file.py", "fchmod"): "of a file that `open_own` made, before it has its name",
    ("server/sealora_server/deployment/processes/sockets.py", "umask"): "a Unix socket has its mode from it alone",
    ("server/sealora_server/deployment/log_file.py", "RotatingFileHandler"): "opens its files by `open_to_append`",
    ("server/sealora_server/simulation/simulate.py", "FileHandler"): "opens its file by `open_to_append`",
    ("client/sealora_client/ledger/store.py", "sqlite3.connect"): "`open_own` made the file; SQLite's others follow it",
    ("client/sealora_client/site/rotation.py", "link"): "the same file once more, in a directory of `make_directory`",
    (
        "common/sealora_common/show/pdf.py",
        "TemporaryDirectory",
    ): "private; a browser prints into it",
    (
        "client/sealora_client/dashboard/priced.py",
        "TemporaryDirectory",
    ): "private; an empty ledger is priced against in it",
    ("server/sealora/planned.py", "TemporaryDirectory"): "private; records are counted in it",
    ("client/sealora_client/model/smollm2.py", "TemporaryDirectory"): "private, in a directory that was judged",
    ("client/sealora_client/model/smollm2.py", "save_pretrained"): "into that; modes are set before anybody sees it",
    ("client/sealora_client/model/smollm2.py", "rename"): "of that, whole",
    ("client/sealora_client/trained/hand_on.py", "save_pretrained"): "in a directory of `make_directory`, then settled",
    ("client/sealora_client/trained/merge.py", "save_pretrained"): "the same",
    ("client/sealora_client/trained/onnx_form.py", "save_pretrained"): "the same",
}


def makers(source: str) -> list[tuple[str, int]]:
    """What in a Python source makes or writes a file, with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            found += [(name, node.lineno) for base in node.bases if (name := _last(base)) in MAKERS]
        elif isinstance(node, ast.ImportFrom) and node.module in OF_A_MODULE:
            found += [
                (f"{node.module}.{alias.name}", node.lineno)
                for alias in node.names
                if alias.name in OF_A_MODULE[node.module]
            ]
        elif isinstance(node, ast.Call):
            name = _called(node)
            if name is not None:
                found.append((name, node.lineno))
    return found


def _called(call: ast.Call) -> str | None:
    last = _last(call.func)
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        module = call.func.value.id
        if last in OF_A_MODULE.get(module, ()):
            return f"{module}.{last}"
    if last in MAKERS:
        return last
    if last == "open" and any(_writes(value) for value in _modes(call)):
        return "open"
    return None


def _modes(call: ast.Call) -> list[ast.expr]:
    """The arguments of a call of some `open` that may be its mode."""
    plain = isinstance(call.func, ast.Name)  # open(path, mode), and path.open(mode)
    return [*call.args[1 if plain else 0 : 2 if plain else 1], *(k.value for k in call.keywords if k.arg == "mode")]


def _writes(mode: ast.expr) -> bool:
    if isinstance(mode, ast.Constant):
        return isinstance(mode.value, str) and len(mode.value) <= 4 and bool(set(mode.value) & set("wax+"))
    return False


def _last(node: ast.expr) -> str | None:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def test_no_package_goes_around_the_one_place_that_makes_files_and_directories():
    used, around = set(), []
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            for maker, line in makers(path.read_text(encoding="utf-8")):
                allowed = {(name, maker), (name, "*")} & ALLOWED.keys()
                used |= allowed
                if not allowed:
                    around.append(f"{name}:{line}: {maker}")
    assert around == []
    assert used == ALLOWED.keys(), "an exception that nothing needs any more"


@pytest.mark.parametrize(
    "source",
    [
        "path.mkdir()", "os.makedirs(path)", "open(path, 'w')", "open(path, mode='ab')", "path.open('a')",
        "path.open(mode='x')", "path.open('r+')", "path.write_text(text)", "path.write_bytes(text)",
        "os.open(path, os.O_WRONLY)", "from os import open", "import os\nos.replace(a, b)", "tempfile.mkdtemp()",
        "class Log(logging.FileHandler): ...", "sqlite3.connect(path)", "model.save_pretrained(path)", "path.touch()",
    ],
)  # fmt: skip
def test_the_search_finds(source):
    assert makers(source) != []


@pytest.mark.parametrize(
    "source", ["path.open('rb')", "open(path)", "RunStore.open(directory)", "session.open(payload)"]
)
def test_the_search_leaves_alone(source):
    assert makers(source) == []
