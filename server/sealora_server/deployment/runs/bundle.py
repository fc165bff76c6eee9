"""The Flower App Bundle that a run is started with: a name for code that is installed already, and no code itself.

Flower starts no run without a bundle. The ServerApp here runs what is installed on the server, and a site of ours
what is installed at the site; neither unpacks it. A stock SuperNode does, and finds the same installed ClientApp.
"""

from __future__ import annotations

import hashlib

from flwr.cli.build import build_fab_from_files

from sealora_common import __version__
from sealora_common.records.names import RUN_DIRECTORY

_PROJECT = f"""\
[project]
name = "sealora"
version = "{__version__}"
description = "Names the installed Sealora; holds no code."
license = "Apache-2.0"

[tool.flwr.app]
publisher = "sealora"

[tool.flwr.app.components]
serverapp = "sealora_server.app:app"
clientapp = "sealora_client.app:app"

[tool.flwr.app.config]
{RUN_DIRECTORY} = ""
"""


def build_bundle() -> tuple[bytes, str]:
    """The bundle, the same for every run of this version, and its SHA-256 (hex)."""
    content, _ = build_fab_from_files({"pyproject.toml": _PROJECT.encode()})
    return content, hashlib.sha256(content).hexdigest()
