"""Imports run one way, and what needs no torch does without it. Each test is a process of its own."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import sealora_common

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "sealora_common": ROOT / "common" / "sealora_common",
    "sealora_server": ROOT / "server" / "sealora_server",
    "sealora": ROOT / "server" / "sealora",
    "sealora_client": ROOT / "client" / "sealora_client",
}
BLOCK = """
import sys

class Blocked:
    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked({names}))
"""


def run_without(blocked: set[str], code: str) -> None:
    script = BLOCK.replace("{names}", repr(blocked)) + code
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def imported_names(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module).partition(".")[0])
    return names


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("sealora_common", {"sealora", "sealora_server", "sealora_client", "flwr"}),
        ("sealora_server", {"sealora", "sealora_client"}),
        ("sealora_client", {"sealora", "sealora_server"}),
        ("sealora", {"sealora_client"}),
    ],
)
def test_imports_run_one_way(package, forbidden):
    files = sorted(PACKAGES[package].rglob("*.py"))
    assert len(files) > 5
    for path in files:
        assert imported_names(path) & forbidden == set(), path


def test_everything_the_parties_share_needs_neither_torch_nor_flower_nor_a_model_library():
    modules = [name for _, name, _ in pkgutil.walk_packages(sealora_common.__path__, "sealora_common.")]
    assert len(modules) > 15
    blocked = {"torch", "flwr", "transformers", "peft", "opacus", "safetensors", "sealora_server", "sealora_client"}
    run_without(blocked, "import importlib\n" + "".join(f"importlib.import_module({name!r})\n" for name in modules))


def test_what_serves_pages_is_loaded_where_something_is_served_alone():
    """`sealora_common` by itself brings none of these; a server and a site do."""
    web = {"starlette", "uvicorn", "jinja2", "markupsafe"}
    package = PACKAGES["sealora_common"]
    users = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if imported_names(path) & web}
    assert {user for user in users if not user.startswith("web/")} == {"show/pages.py", "health/http_server.py"}
    others = [
        name
        for _, name, _ in pkgutil.walk_packages(sealora_common.__path__, "sealora_common.")
        if not name.startswith(("sealora_common.web.", "sealora_common.health.http_server"))
    ]
    run_without(web, "import importlib\n" + "".join(f"importlib.import_module({name!r})\n" for name in others))


@pytest.mark.parametrize("module", ["sealora_server.run.sealed_round", "sealora_server.app", "sealora_server.cli"])
def test_the_server_needs_no_torch_to_aggregate(module):
    run_without({"torch", "transformers", "peft", "opacus", "bitsandbytes", "sealora_client"}, f"import {module}\n")


def test_the_server_runs_a_whole_sealed_round_without_torch(tmp_path):
    code = f"""
sys.path[:0] = [{str(ROOT / "tests")!r}]
from pathlib import Path
import numpy as np
from pure_sites import PureGrid, federation_over, order_for, pure_federation, pure_recipe
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity
from sealora_server.run.sealed_round import seal_round
from sealora_server.run.server_optimizer import ServerOptimizer

recipe = pure_recipe()
roster, sites = pure_federation(recipe, 3)
server = Identity.create("server", SystemEntropy())
federation = federation_over(Path({str(tmp_path)!r}), PureGrid(sites), recipe, roster, server)
optimizer = ServerOptimizer(recipe)
start = np.zeros(adapter_kind(recipe).shared(federation.layout).size, dtype=np.float32)
optimizer.chosen("train", 1, start, list(federation.sites))
sealed = seal_round(federation, order_for(federation, start, 1), start)
assert np.abs(optimizer.step(1, sealed.adapter)).max() > 0.1
assert "torch" not in sys.modules
"""
    run_without({"torch", "transformers", "peft", "opacus", "bitsandbytes", "sealora_client"}, code)


def test_a_recipe_is_checked_without_loading_torch():
    """So that a typing error is told at once and not after six seconds."""
    code = "import sealora_server.cli\nassert not {'torch', 'transformers', 'sealora_client'} & set(sys.modules)\n"
    run_without(set(), code)


def test_the_blocking_of_these_tests_blocks():
    with pytest.raises(AssertionError, match="torch is blocked"):
        run_without({"torch"}, "import torch\n")
