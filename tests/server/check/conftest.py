"""The folders whose helpers the tests of the server's pre-flight import by name."""

from __future__ import annotations

import sys
from pathlib import Path

SERVER = Path(__file__).parents[1]
sys.path[:0] = [str(SERVER), str(SERVER / "deployment")]
