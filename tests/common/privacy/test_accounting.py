"""The door to the accounting: its example, and what it loads."""

from __future__ import annotations

import doctest
import subprocess
import sys

from sealora_common.privacy import accounting


def test_the_example_computes_what_it_shows() -> None:
    result = doctest.testmod(accounting)
    assert result.attempted >= 5
    assert result.failed == 0


def test_importing_the_module_loads_neither_torch_nor_opacus() -> None:
    program = (
        "import sys, sealora_common.privacy.accounting; sys.exit(any(m in sys.modules for m in ('torch', 'opacus')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
