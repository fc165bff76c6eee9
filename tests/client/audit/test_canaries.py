from __future__ import annotations

import numpy as np
import pytest

from sealora_client.audit.canaries import make_canaries, throw_coins
from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_common.entropy import SeededEntropy, SystemEntropy


def units_of(tokens, responses, records=1):
    return Population(
        tuple(
            tuple(Example(np.arange(tokens, dtype=np.int32), prompt_length=tokens - responses) for _ in range(records))
            for _ in range(5)
        )
    )


def test_coins_are_fair_and_independent():
    """Every pair of neighbours, and every pair eight apart (a byte), comes out alike; of 10^5, within 5 sigma."""
    coins = throw_coins(SystemEntropy(), 100_000)
    assert abs(coins.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(coins))
    for apart in (1, 2, 7, 8, 16):
        both = coins[:-apart] & coins[apart:]
        assert abs(both.mean() - 0.25) < 5 * np.sqrt(3 / 16 / len(both))


@pytest.mark.parametrize("count", [1, 7, 8, 9, 400])
def test_there_is_a_coin_for_each_canary(count):
    coins = throw_coins(SystemEntropy(), count)
    assert coins.shape == (count,)
    assert coins.dtype == np.bool_


def test_new_coins_leave_the_canaries_as_they_are(tiny_site):
    site = tiny_site()
    first = make_canaries(64, site.records, site.model.tokenizer, site.recipe, SeededEntropy("a"))
    second = first.with_new_coins(SeededEntropy("b"))
    assert second.population is first.population
    assert 10 < (second.included != first.included).sum() < 54


def test_canaries_have_the_length_of_the_records_and_the_prompt_s_frame(tiny_site):
    site = tiny_site("data.max_tokens=64")
    canaries = make_canaries(50, site.records, site.model.tokenizer, site.recipe, SeededEntropy(1))
    typical = np.median([unit[0].response_length for unit in site.records.units])
    frame = site.records.units[0][0].tokens[:3]
    for (canary,) in canaries.population.units:
        assert canary.response_length == typical
        assert len(canary.tokens) <= 64
        np.testing.assert_array_equal(canary.tokens[:3], frame)


@pytest.mark.parametrize(("most", "response"), [(24, 12), (20, 9)])  # the template's own tokens are 11
def test_canaries_are_no_longer_than_the_recipe_allows(tiny_site, most, response):
    site = tiny_site(f"data.max_tokens={most}")
    canaries = make_canaries(20, units_of(400, 300), site.model.tokenizer, site.recipe, SeededEntropy(1))
    assert {(len(unit[0].tokens), unit[0].response_length) for unit in canaries.population.units} == {(most, response)}


def test_responses_are_random_tokens_without_the_tokenizer_s_marks(tiny_site):
    site = tiny_site("data.max_tokens=64")
    tokenizer = site.model.tokenizer
    canaries = make_canaries(2000, units_of(30, 16), tokenizer, site.recipe, SeededEntropy(1))
    responses = np.array([unit[0].tokens[unit[0].prompt_length :] for unit in canaries.population.units])
    counts = np.bincount(responses.reshape(-1), minlength=len(tokenizer))
    assert counts[tokenizer.all_special_ids].sum() == 0
    ordinary = np.delete(counts, tokenizer.all_special_ids)
    expected = responses.size / len(ordinary)
    statistic = ((ordinary - expected) ** 2 / expected).sum()  # chi-squared, mean 380, standard deviation 28
    assert abs(statistic - len(ordinary)) < 5 * np.sqrt(2 * len(ordinary))
    assert len({tuple(response) for response in responses}) == 2000


@pytest.mark.parametrize(("usual", "limit", "made"), [(1, 8, 1), (3, 8, 3), (5, 2, 2)])
def test_a_canary_person_has_as_many_records_as_is_usual_and_allowed(tiny_site, usual, limit, made):
    site = tiny_site(f"privacy.records_per_person={limit}")
    canaries = make_canaries(10, units_of(20, 8, usual), site.model.tokenizer, site.recipe, SeededEntropy(1))
    assert {len(unit) for unit in canaries.population.units} == {made}


def test_only_canaries_that_are_in_are_trained_on_and_they_stand_first(tiny_site):
    site = tiny_site()
    canaries = make_canaries(40, site.records, site.model.tokenizer, site.recipe, SeededEntropy(1))
    trained = canaries.among(site.records).units
    wanted = [unit for unit, kept in zip(canaries.population.units, canaries.included, strict=True) if kept]
    assert len(trained) == int(canaries.included.sum()) + len(site.records)
    expected = [example for unit in [*wanted, *site.records.units] for example in unit]
    assert all(a is b for a, b in zip([example for unit in trained for example in unit], expected, strict=True))
