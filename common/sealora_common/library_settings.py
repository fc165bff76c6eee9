"""What libraries read from the environment while they are loaded: whoever loads them sets it first, and once."""

from __future__ import annotations

import os
from typing import Final

_SETTINGS: Final = {
    # Before Flower is imported: nothing a user starts reports home.
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    # Before torch is imported: its threads wait for each other awake for some microseconds only, then asleep. Spinning
    # for good, as they do by default, they starve each other wherever the cores are shared.
    "GOMP_SPINCOUNT": "10000",
}


def unset_settings() -> dict[str, str]:
    """The variables of the environment that are to be set, of those that nobody has set."""
    return {name: value for name, value in _SETTINGS.items() if name not in os.environ}
