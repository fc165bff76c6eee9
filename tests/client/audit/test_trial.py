from __future__ import annotations

import numpy as np
import pytest

from sealora_client.audit.canaries import Canaries, make_canaries
from sealora_client.audit.guessing import perfect_guesses
from sealora_client.audit.trial import Start, run_trial
from sealora_client.data.population import Population
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import ModelError

from lora_kinds import lora

NOTHING = Population(())
OPEN = ("training.optimizer=sgd", "training.learning_rate=1.0", "lora.rank=8")
WITHOUT_PRIVACY = {"privacy": {"mechanism": "none"}}


def canaries_of(site, count=128, seed=0):
    return make_canaries(count, site.records, site.model.tokenizer, site.recipe, SeededEntropy("canaries", seed))


def trial_of(site, canaries, **changes):
    given = {
        "known": site.records,
        "roster_size": 3,
        "server_step": lambda number, before, after: after,
        "entropy": SeededEntropy("trial"),
    }
    return run_trial(site.model, site.recipe, canaries, site.records, **{**given, **changes})


def found_by(trial, adversary):
    (finding,) = [finding for finding in trial.findings if finding.adversary == adversary]
    return finding


def test_without_privacy_both_adversaries_see_who_was_there(tiny_site):
    site = tiny_site("rounds=3", *OPEN, **WITHOUT_PRIVACY)
    trial = trial_of(site, canaries_of(site))
    white = found_by(trial, "white-box")
    assert white.guesses.correct == white.guesses.guessed_in + white.guesses.guessed_out
    assert white.guesses.lower_bound == trial.largest_bound == trial.lower_bound > 2
    assert found_by(trial, "black-box").roc.auc > 0.8
    assert trial.claim.epsilon is None
    assert not trial.refutes_claim


@pytest.mark.slow
def test_canaries_that_are_out_are_not_trained_on(tiny_site):
    """The scores follow the coins, not the canaries: with all coins turned, they point the other way."""
    site = tiny_site("rounds=2", *OPEN, **WITHOUT_PRIVACY)
    canaries = canaries_of(site)
    turned = Canaries(canaries.population, ~canaries.included)
    for each in (canaries, turned):
        trial = trial_of(site, each)
        assert trial.included == int(each.included.sum())
        assert found_by(trial, "white-box").roc.auc > 0.95
    wrong = trial_of(site, canaries)
    assert found_by(wrong, "white-box").roc.members == int(canaries.included.sum())


@pytest.mark.slow
def test_the_coins_reach_the_adversaries_only_by_way_of_training(tiny_site):
    """Of a training that draws nobody, nothing can be told."""
    site = tiny_site("rounds=2", "training.sample_rate=1e-9", "lora.rank=8")
    trial = trial_of(site, canaries_of(site, 256))
    for finding in trial.findings:
        assert 0.35 < finding.roc.auc < 0.65
    assert trial.lower_bound < 0.7


@pytest.mark.slow
def test_every_round_s_release_counts(tiny_site):
    """A canary is seen if any of six rounds drew it, which is seven times as likely as that the last one did."""
    site = tiny_site("rounds=6", *OPEN, "training.sample_rate=0.15", **WITHOUT_PRIVACY)
    canaries = canaries_of(site)
    assert found_by(trial_of(site, canaries), "white-box").roc.auc > 0.75
    for part in ("rounds=1", "rounds=2"):
        few = tiny_site(part, *OPEN, "training.sample_rate=0.15", **WITHOUT_PRIVACY)
        assert found_by(trial_of(few, canaries), "white-box").roc.auc < 0.7


@pytest.mark.slow
def test_what_both_halves_of_alternating_rounds_release_is_scored(tiny_site):
    site = tiny_site("rounds=4", "lora.aggregation=alternating", *OPEN, **WITHOUT_PRIVACY)
    assert found_by(trial_of(site, canaries_of(site)), "white-box").roc.auc > 0.9


def test_the_adversaries_bounds_hold_together(tiny_site):
    """Each has half of the probability of a bound that is too high."""
    site = tiny_site("rounds=1", *OPEN, **WITHOUT_PRIVACY)
    trial = trial_of(site, canaries_of(site))
    half = perfect_guesses(128, delta=site.recipe.privacy.delta, significance=0.05 / 2)
    assert trial.largest_bound == half.lower_bound
    assert found_by(trial, "white-box").guesses == half


@pytest.mark.slow
def test_the_server_s_optimiser_sees_each_release_and_makes_the_next_adapter(tiny_site):
    site = tiny_site("rounds=3", *OPEN)
    shared = lora().shared(site.model.layout)
    begin = shared.flatten(adapter_kind(site.recipe).initial(site.model.layout))
    seen = []

    def step(number, before, after):
        seen.append((number, before.copy(), after.copy()))
        return before + np.float32(number)

    trial_of(site, canaries_of(site), server_step=step)
    assert [number for number, _, _ in seen] == [1, 2, 3]
    np.testing.assert_array_equal(seen[0][1], begin)
    np.testing.assert_array_equal(seen[2][1], begin + np.float32(1) + np.float32(2))
    assert all((before != after).any() for _, before, after in seen)
    np.testing.assert_array_equal(shared.flatten(site.model.read(shared.names)), begin + np.float32(6))


@pytest.mark.slow
def test_a_start_that_is_there_already_changes_nothing(tiny_site):
    site = tiny_site("rounds=2")
    canaries = canaries_of(site)
    start = Start.of(site.model, site.recipe, canaries.population, site.records)
    first, second = trial_of(site, canaries), trial_of(site, canaries, start=start)
    assert [finding.guesses for finding in first.findings] == [finding.guesses for finding in second.findings]
    assert first.findings[0].roc.auc == second.findings[0].roc.auc


def test_a_claim_is_refuted_by_a_larger_lower_bound_alone(tiny_site):
    site = tiny_site()
    trial = trial_of(site, canaries_of(site))
    assert 0 < trial.claim.epsilon <= 4.0
    assert trial.lower_bound == max(finding.guesses.lower_bound for finding in trial.findings)
    assert trial.refutes_claim == (trial.lower_bound > trial.claim.epsilon)


@pytest.mark.slow
def test_persons_are_audited_as_persons(tiny_site):
    """A person's records have one coin between them, and one clipped contribution."""
    site = tiny_site("rounds=2", *OPEN, **WITHOUT_PRIVACY)
    examples = [unit[0] for unit in site.records.units]
    persons = Population(tuple(tuple(examples[start : start + 3]) for start in range(0, 24, 3)))
    canaries = make_canaries(64, persons, site.model.tokenizer, site.recipe, SeededEntropy("persons"))
    assert {len(unit) for unit in canaries.population.units} == {3}
    trial = run_trial(
        site.model,
        site.recipe,
        canaries,
        persons,
        known=persons,
        roster_size=3,
        server_step=lambda number, before, after: after,
        entropy=SeededEntropy("trial"),
    )
    assert found_by(trial, "white-box").roc.auc > 0.95


def test_a_model_that_overflows_ends_in_a_sentence(tiny_site):
    site = tiny_site("rounds=1", *OPEN, **WITHOUT_PRIVACY)
    with pytest.raises(ModelError, match=r"not a number: lower training\.learning_rate"):
        trial_of(site, canaries_of(site), server_step=lambda number, before, after: np.full_like(after, 1e38))


def test_no_round_s_number_is_skipped(tiny_site):
    site = tiny_site("rounds=2")
    rounds = []
    trial_of(site, canaries_of(site), known=NOTHING, on_round=rounds.append)
    assert rounds == [1, 2]
