"""The server's own files: whose they are, who may read them, and whether they belong together."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sealora_common.errors import SealoraError
from sealora_common.health.finding import Finding, failed, passed, warned
from sealora_common.identity import Identity, read_public_key
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.initialise import AUTHORITY_KEY
from sealora_server.deployment.nodes import NodeList

_OTHERS = 0o077


def check_files(server: ServerDirectory) -> Iterator[Finding]:
    """Directory and modes, identity, and the sites' node keys."""
    yield _on_directory(server.path)
    secret = [server.identity, server.key, server.path / AUTHORITY_KEY]
    open_to_others = [path for path in secret if path.exists() and stat.S_IMODE(path.stat().st_mode) & _OTHERS]
    for path in open_to_others:
        yield failed("keys", f"{path}: others can read it: chmod 600 it, and replace it if they did")
    try:
        identity = Identity.load("server", server.identity)
        public_key = read_public_key(server.public_key)
    except SealoraError as error:
        yield failed("identity", str(error))
    else:
        if public_key != identity.public_key:
            yield failed("identity", f"{server.public_key} is not the public half of {server.identity}: restore both")
        else:
            yield passed("identity", f"signs as {identity.fingerprint}")
    try:
        nodes = NodeList.load(server.nodes).nodes
    except SealoraError as error:
        yield failed("sites", str(error))
    else:
        if nodes:
            yield passed("node keys", f"{len(nodes)} sites may connect")


def _on_directory(directory: Path) -> Finding:
    found = directory.stat()
    if found.st_uid != os.geteuid():
        return failed("directory", f"{directory} belongs to another account: run this, and the server, as that one")
    if not os.access(directory, os.W_OK):
        return failed("directory", f"{directory} cannot be written to: give this account the right to")
    if stat.S_IMODE(found.st_mode) & _OTHERS:
        return warned("directory", f"{directory} is open to other accounts: chmod 700 it")
    return passed("directory", f"{directory}, this account's alone")
