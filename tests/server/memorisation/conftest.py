"""Lets the tests of memorisation import `planted_linear_sites` by name, and makes a whole test on such sites."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from planted_linear_sites import SimulatedPlantedSites, found_of

from sealora_common.records.attacks.memorisation import AttackedAdapter, Planting
from sealora_common.show.console import SafeConsole
from sealora_server.memorisation import testing
from sealora_server.memorisation.findings import Memorisation
from sealora_server.memorisation.page import print_memorisation
from sealora_server.memorisation.testing import MemorisationTest


@pytest.fixture
def run_test(monkeypatch, tmp_path):
    """`run_test(sites, recipe, ...)`: what was found, and what was said."""

    def run(sites, recipe, *, seeds=1, secrets=24, repeats=(1, 4), candidates=7, out="out") -> tuple[Memorisation, str]:
        monkeypatch.setattr(testing, "simulated_sites", lambda: sites)
        console = SafeConsole(file=io.StringIO(), width=100)
        found = MemorisationTest(recipe, tmp_path / out, seeds, secrets, repeats, candidates).run(console)
        print_memorisation(found, tmp_path / out, console)
        return found, console.file.getvalue()

    return run


@pytest.fixture
def leaking() -> Callable[..., SimulatedPlantedSites]:
    """`leaking(base, plain, private)`: sites whose arms, in this order, tell these shares by repeats."""

    def make(
        *arms: dict[int, float], gain: float | None = None, others: float = 0.0, digest: str = "records"
    ) -> SimulatedPlantedSites:
        attacked = 0

        def attacks(planting: Planting) -> AttackedAdapter:
            nonlocal attacked
            attacked += 1
            return found_of(planting, arms[(attacked - 1) % len(arms)], gain=gain, others=others)

        return SimulatedPlantedSites(attacks, digest)

    return make
