"""Planted personal data comes out of a tiny model without privacy, and with it no more than what nobody trained on.

The same of the demo's model: pytest tests/federation/test_memorisation.py -m slow -s
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from sealora_common.recipe import load_recipe
from sealora_common.show.console import SafeConsole
from sealora_server.memorisation.findings import Memorisation
from sealora_server.memorisation.page import print_memorisation
from sealora_server.memorisation.testing import MemorisationTest

from demo_recipes import CONFIGS, RECIPES, need_the_package_of
from tiny_federation import PRIVATE, write_federation

BY_HEART = {
    "lora": {"rank": 16, "alpha": 32.0},
    "data": {"max_tokens": 80},
    "training": {"sample_rate": 1.0, "learning_rate": 3e-2, "micro_batch_size": 32},
    "privacy": PRIVATE,
}


def require_what_the_page_says(found: Memorisation) -> None:
    """20 % and more of the planted data without privacy, and at epsilon 8 no more than of what nobody trained on."""
    assert found.epsilon == 8.0
    control, private = found.of_control, found.of_recipe
    for each in control.extractions:
        assert each.is_more
    assert control.told.planted.share >= 0.2
    assert control.told.held_back.share <= 0.1
    for each in private.extractions[:2]:
        assert each.attack in ("told", "continued")
        assert each.more_low <= 0
    assert found.standing == "no more extracted"


@pytest.mark.slow
def test_a_tiny_model_gives_away_a_fifth_and_more_without_privacy_and_nothing_more_at_epsilon_8(tiny_base, tmp_path):
    recipe = load_recipe(write_federation(tmp_path, tiny_base(), records=5, rounds=24, **BY_HEART))
    found = MemorisationTest(recipe, tmp_path / "out", 1, 12, (1, 3), 7).run(SafeConsole(file=io.StringIO()))
    require_what_the_page_says(found)


DEMO = (
    "model.quantization=none",
    "model.compute_dtype=float32",
    "lora.last_layers=10",
    "rounds=30",
    "training.sample_rate=0.6",
    "training.evaluate_every=30",
    "server.learning_rate=0.025",
)


def few_records(data: Path, to: Path) -> str:
    """Six training records and a held-out one of a site's file."""
    lines = data.read_text(encoding="utf-8").splitlines()
    parts = {part: [line for line in lines if json.loads(line)["split"] == part] for part in ("train", "heldout")}
    to.write_text("\n".join([*parts["train"][:6], *parts["heldout"][:1]]) + "\n", encoding="utf-8")
    return str(to)


@pytest.mark.slow
def test_the_demo_s_model_does_as_well(tmp_path):
    from sealora_client.demo_data.choice import build_demo

    need_the_package_of(RECIPES["demo-icd10.yaml"])
    sites = {
        site.name: few_records(site.path, tmp_path / f"few-{site.name}.jsonl")
        for site in build_demo(tmp_path / "data", RECIPES["demo-icd10.yaml"])
    }
    recipe = load_recipe(CONFIGS / "demo-icd10.yaml", [*DEMO, f"sites.simulated={json.dumps(sites)}"])
    console = SafeConsole(width=100)
    found = MemorisationTest(recipe, tmp_path / "out", 1, 12, (2,), 3).run(console)
    print_memorisation(found, tmp_path / "out", console)
    require_what_the_page_says(found)
