"""The audit on sabotaged engines: each fault is caught, and the sound engine is not accused."""

from __future__ import annotations

import pytest

from sealora_client.audit import faults, self_check
from sealora_client.audit.faults import FAULTS
from sealora_client.audit.self_check import run_self_check
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import RecipeError
from sealora_common.recipe import Recipe


@pytest.fixture(scope="module")
def checked(tiny_site):
    site = tiny_site("lora.rank=16", "lora.alpha=32")
    announced = []
    checks = run_self_check(
        site.model,
        site.recipe,
        site.records,
        roster_size=3,
        entropy=SeededEntropy("self-check"),
        on_check=announced.append,
    )
    return site, checks, announced


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(checked, fault):
    (check,) = [check for check in checked[1] if check.fault == fault]
    assert check.trial.lower_bound > check.trial.claim.epsilon
    assert check.passed


@pytest.mark.slow
def test_the_sound_engine_is_not_accused(checked):
    sound = [check for check in checked[1] if check.fault is None]
    assert len(sound) == 2
    for check in sound:
        assert check.trial.lower_bound < check.trial.claim.epsilon
        assert check.passed


@pytest.mark.slow
def test_every_trial_is_announced(checked):
    _, checks, announced = checked
    assert announced == [check.fault for check in checks]
    assert {check.fault for check in checks} == {None, *FAULTS}


@pytest.mark.slow
def test_each_trial_throws_its_own_coins(checked):
    counts = [check.trial.included for check in checked[1]]
    assert len(set(counts)) > 2
    assert {check.trial.canaries for check in checked[1]} == {self_check.CANARIES}


@pytest.mark.slow
def test_what_is_claimed_is_what_the_accountant_says_of_what_ran(checked):
    for check in checked[1]:
        assert 1.5 < check.trial.claim.epsilon <= 2.0


def test_noise_that_is_off_is_caught(tiny_site, monkeypatch):
    monkeypatch.setattr(self_check, "SETTINGS", (self_check.Setting(("noise off",), 2.0, 1.0, 1, 0.0),))
    site = tiny_site("lora.rank=16", "lora.alpha=32")
    sound, broken = run_self_check(
        site.model, site.recipe, site.records, canaries=200, roster_size=3, entropy=SeededEntropy(1)
    )
    assert sound.passed
    assert broken.trial.lower_bound > broken.trial.claim.epsilon
    assert broken.passed


def test_a_fault_that_is_none_is_not_caught(tiny_site, monkeypatch):
    """The outcome is the audit's, not the fault's name's."""
    monkeypatch.setitem(faults._REPLACEMENTS, "noise off", ())
    monkeypatch.setattr(self_check, "SETTINGS", (self_check.Setting(("noise off",), 2.0, 1.0, 1, 0.0),))
    site = tiny_site()
    sound, harmless = run_self_check(
        site.model, site.recipe, site.records, canaries=200, roster_size=3, entropy=SeededEntropy(1)
    )
    assert sound.passed
    assert not harmless.passed


@pytest.mark.parametrize(
    "overrides",
    [
        ("lora.aggregation=alternating", "lora.dropout=0.1"),
        ("privacy.clipping=per_layer", "training.proximal_mu=0.5"),
        (
            "privacy.mechanism=distributed",
            "sealing.ring_bits=24",
            "training.steps_per_round=1",
            "privacy.spare_rounds=3",
        ),
    ],
)
def test_the_adjusted_recipe_is_a_recipe(tiny_site, overrides):
    """Its parts are put together without the schema's checks, so they are made here."""
    site = tiny_site(*overrides)
    for setting in self_check.SETTINGS:
        adjusted = self_check._adjusted(site.recipe, setting, 0.5)
        assert Recipe.model_validate(adjusted.model_dump()) == adjusted
        assert adjusted.accounted_steps == setting.steps
        assert adjusted.privacy.mechanism == site.recipe.privacy.mechanism
        assert adjusted.model == site.recipe.model


def test_a_recipe_that_claims_nothing_has_nothing_to_check(tiny_site):
    site = tiny_site(privacy={"mechanism": "none"})
    with pytest.raises(RecipeError, match=r"privacy\.mechanism is none"):
        run_self_check(site.model, site.recipe, site.records, roster_size=3, entropy=SeededEntropy(1))
