"""The calculation of correlated noise runs, in small, and agrees with the project's accounting and with draws."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sealora_common.privacy.accounting import calibrate_noise

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent / "correlated_noise.py"


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def test_one_band_is_the_project_s_own_calibration_to_the_last_digit(figures: dict[str, Any]) -> None:
    assert figures["checks"]["one_band_noise"] == 1.0
    for row in figures["own"] + figures["frontier"]:
        assert row["sigma"] == calibrate_noise(row["epsilon"], row["delta"], row["rate"], row["steps"])


def test_b_bands_are_charged_as_fewer_steps_at_a_higher_rate(figures: dict[str, Any]) -> None:
    (row,) = figures["own"]
    bands = row["constant_bands"]
    assert bands > 1
    steps = math.ceil(row["steps"] / bands)
    assert row["sigma_bands"] == calibrate_noise(row["epsilon"], row["delta"], bands * row["rate"], steps)


def test_the_charge_is_what_drawn_outputs_show_and_one_for_fewer_bands_than_there_are_is_not(
    figures: dict[str, Any],
) -> None:
    checks = figures["checks"]
    assert 0.009 < checks["delta_of_b_bands"] < 0.011  # calibrated for 0.01
    assert checks["delta_of_too_many_bands"] > 0.02


def test_errors_and_sensitivities_are_those_of_draws_and_of_every_way_to_take_part(figures: dict[str, Any]) -> None:
    checks = figures["checks"]
    assert checks["sampled_rms"] == pytest.approx(1, abs=0.02)
    assert checks["sampled_last"] == pytest.approx(1, abs=0.02)
    assert checks["participations"] == pytest.approx(1, abs=1e-9)
    assert checks["largest_column_norm"] == pytest.approx(1, abs=1e-9)
    assert 0.9 < checks["root_to_best"] <= 1


def test_the_other_parts_have_rows(figures: dict[str, Any]) -> None:
    (fixed,), (optimised,) = figures["unsampled"], figures["optimisers"]
    assert fixed["banded_rms"] < fixed["independent_rms"]
    assert fixed["banded_rms"] <= min(fixed["root_rms"], fixed["blt_rms"])  # six steps: one part in one step, all bands
    assert optimised["adamw_anew_rms"] > optimised["sgd_rms"] > 0
