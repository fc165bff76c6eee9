"""Fixtures of the tests that run whole federations, and the folders whose helpers they import by name."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "client"), str(HERE.parent / "server" / "deployment")]
