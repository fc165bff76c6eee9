"""Where the directories of simulated sites lie, for the two packages that must agree on it without a word."""

from __future__ import annotations

import os
from pathlib import Path

from sealora_common.records.names import SITES

VARIABLE = "SEALORA_SIMULATED_SITES"
"""Environment of a simulation: the directory that holds one site directory for each partition."""


def simulated_sites_directory() -> Path:
    """The directory the environment names, else a place of its own under the user's state (XDG base directories).

    A server cannot name it: a site's directory is never taken from what the server sends.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "sealora" / "flwr-run" / SITES
