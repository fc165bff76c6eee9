"""How the audit does seed by seed; the tables of docs/privacy.md are what this prints:

pytest tests/client/audit/test_twenty_seeds.py -m slow -s
"""

from __future__ import annotations

import pytest

from sealora_client.audit.canaries import make_canaries
from sealora_client.audit.self_check import run_self_check
from sealora_client.audit.trial import Trial, run_trial
from sealora_common.entropy import SeededEntropy

pytestmark = pytest.mark.slow

WIDE = ("lora.rank=16", "lora.alpha=32")
DISTRIBUTED = ("privacy.mechanism=distributed", "sealing.ring_bits=24", "training.steps_per_round=1")
USUAL = (
    "rounds=3",
    "training.steps_per_round=4",
    "training.sample_rate=0.3",
    "training.learning_rate=0.02",
    "privacy.epsilon=2",
)


def report(mechanism: str, seed: int, engine: str, trial: Trial) -> None:
    bounds = "  ".join(f"{finding.adversary} {finding.guesses.lower_bound:4.2f}" for finding in trial.findings)
    print(f"\n{mechanism:12} {seed:2}  {engine:22} claim {trial.claim.epsilon:4.2f}  {bounds}", end="")


def check_all_engines(site, mechanism: str, seed: int) -> None:
    checks = run_self_check(
        site.model, site.recipe, site.records, roster_size=3, entropy=SeededEntropy("seeds", mechanism, seed)
    )
    for check in checks:
        report(mechanism, seed, check.fault or "sound", check.trial)
    assert [check.fault for check in checks if not check.passed] == []


@pytest.mark.parametrize("seed", range(20))
def test_local_noise_is_under_its_claim_and_each_fault_over_it(tiny_site, seed):
    check_all_engines(tiny_site(*WIDE), "local", seed)


@pytest.mark.parametrize("seed", range(5))
def test_distributed_noise_is_under_its_claim_and_each_fault_over_it(tiny_site, seed):
    check_all_engines(tiny_site(*WIDE, *DISTRIBUTED), "distributed", seed)


@pytest.mark.parametrize("seed", range(20))
def test_a_usual_recipe_is_under_its_claim(tiny_site, seed):
    site = tiny_site(*USUAL, *WIDE, records=300)
    entropy = SeededEntropy("usual", seed)
    trial = run_trial(
        site.model,
        site.recipe,
        make_canaries(400, site.records, site.model.tokenizer, site.recipe, entropy),
        site.records,
        known=site.records,
        roster_size=3,
        server_step=lambda number, before, after: after,
        entropy=entropy,
    )
    report("usual", seed, "sound", trial)
    assert trial.lower_bound < trial.claim.epsilon
