"""Every HTTP client of the packages is a `BoundedClient`, so that no peer can keep it waiting or fill its memory."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("common/sealora_common", "server/sealora_server", "server/sealora", "client/sealora_client")
PACKAGES = [ROOT / part for part in PARTS]
CLIENTS = {
    "httpx": {"Client", "AsyncClient", "get", "post", "put", "patch", "head", "options", "delete", "request", "stream"},
    "httpcore": {"ConnectionPool", "AsyncConnectionPool", "HTTPProxy", "SOCKSProxy", "request", "stream"},
}
OTHERS = {"requests", "urllib.request", "http.client", "aiohttp", "urllib3", "websockets"}
ALLOWED = {
    "common/sealora_common/network/bounded_http.py": "this is the place",
    "server/sealora_server/dashboard/login/openid.py": "to the login service that server.yaml names, bounded there",
    "server/sealora_server/deployment/front/passing.py": "to this machine's own SuperLink, with the front's own limits",
}


def clients(source: str) -> list[str]:
    """What in a Python source speaks HTTP by itself."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in CLIENTS.get(node.value.id, ()):
                found.append(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in OTHERS]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = {alias.name for alias in node.names}
            found += [f"{node.module}.{name}" for name in names & CLIENTS.get(node.module, set())]
            found += [node.module] if node.module in OTHERS else []
            found += [f"{node.module}.{name}" for name in names if f"{node.module}.{name}" in OTHERS]
    return found


def test_no_package_speaks_http_but_through_the_bounded_client():
    found = {}
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if spoken := clients(path.read_text(encoding="utf-8")):
                found[name] = spoken
    assert found.keys() == ALLOWED.keys(), found


@pytest.mark.parametrize(
    "source",
    [
        "httpx.Client()", "httpx.get(url)", "class C(httpx.Client): ...", "from httpx import AsyncClient",
        "httpcore.ConnectionPool()", "import requests", "from urllib.request import urlopen", "from http import client",
        "import http.client",
    ],
)  # fmt: skip
def test_the_search_finds(source):
    assert clients(source) != []
