"""Lets the tests of the deployment import `running_server`, `fleet_sites` and `front_bench` by name."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
