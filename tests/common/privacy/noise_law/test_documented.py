"""The figures in docs/privacy.md on what noise leaves of the records are what the code computes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.privacy.noise_law import AGREEMENT, LEAST, drowned, outlook
from sealora_common.recipe import load_recipe

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## What noise leaves of the records")[2].partition("\n## ")[0]
RECIPE = ROOT / "configs" / "demo-icd10-distributed.yaml"
UNITS = (2597, 2125, 3193)
PARAMETERS = 1_244_160
ROW = re.compile(r"^\| (\d+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", re.MULTILINE)


def test_the_table_is_what_the_command_shows():
    found = outlook(load_recipe(RECIPE), UNITS, "abc", PARAMETERS)
    computed = [
        (
            f"{choice.compute:g}",
            str(choice.steps),
            f"{choice.sample_rate:g}",
            *(f"{value:.3g}" for value in (choice.noise_in_units, choice.worth_at_best, choice.worth)),
        )
        for choice in (found.own, *found.alternatives)
    ]
    assert ROW.findall(SECTION) == computed
    assert f"{sum(UNITS):,} records at three sites, {PARAMETERS:,} parameters" in SECTION.replace("\n", " ")


def test_the_banks_of_60_are_as_drowned_as_it_says():
    text = SECTION.replace("\n", " ")
    told = re.search(r"are worth ([\d.]+) at best: ([\d.]+) records a step meet noise as long as (\d+) that pull", text)
    recipe = load_recipe(RECIPE)
    found = outlook(recipe, (60,) * 3, "abc", PARAMETERS)
    assert told.groups() == (
        f"{found.own.worth_at_best:.2g}",
        f"{found.own.expected_units:.2g}",
        f"{found.noise_as_units:.0f}",
    )
    said = drowned(recipe, (60,) * 3, PARAMETERS)
    assert all(figure in said for figure in told.groups())


@pytest.mark.parametrize(
    "said",
    [f"less than {LEAST:g} steps without noise at best", "taken to be a quarter of that", "if it is worth a fifth"],
)
def test_the_rules_are_those_of_the_code(said):
    assert AGREEMENT == 1 / 4
    assert said in SECTION.replace("\n", " ")


def test_the_layers_are_what_the_command_shows():
    """The widths of SmolLM2-135M's layers, thirty blocks of them, at rank 8. What each holds is a measurement."""
    widths = {"k": 192, "v": 192, "down": 576, "o": 576, "q": 576, "gate": 1536, "up": 1536}
    layout = AdapterLayout(
        tuple(
            TensorSpec(f"m.{block}.{name}_proj.lora_B.weight", (width, 8))
            for block in range(30)
            for name, width in widths.items()
        )
    )
    assert layout.size == PARAMETERS
    computed = [
        (f"`{part.name}`", f"{part.parameters:,}", f"{part.worth:.3g}", f"{100 * part.pays_from:.2g} %")
        for part in outlook(load_recipe(RECIPE), UNITS, "abc", layout).layers
    ]
    rows = re.findall(r"^\| (`\w+_proj`) \| ([\d,]+) \| ([\d.]+) \| ([\d.]+ %) \| [\d.]+ % \|$", SECTION, re.MULTILINE)
    assert rows == computed
