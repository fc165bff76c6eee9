"""Shares and exposures beside those of data nobody trained on, with intervals that hold what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sealora_common.records.attacks.memorisation import SecretFound
from sealora_common.records.share_interval import share_difference_interval
from sealora_server.memorisation.counts import exposure, extractions, share_of


def secret(told: bool = False, rank: int = 2) -> SecretFound:
    return SecretFound(kind="name", site=None, repeats=0, space=10, gain=0.0, rank=rank, continued=False, told=told)


# Newcombe 1998, table II, method 10: 56/70 - 48/80, 9/10 - 3/10, 6/7 - 2/7, 5/56 - 0/29, 0/10 - 0/20, 10/10 - 0/20.
@pytest.mark.parametrize(("found", "counts", "ends"), [
    ((56, 48), (70, 80), (0.0524, 0.3339)),
    ((9, 3), (10, 10), (0.1705, 0.8090)),
    ((6, 2), (7, 7), (0.0582, 0.8062)),
    ((5, 0), (56, 29), (-0.0381, 0.1926)),
    ((0, 0), (10, 20), (-0.1611, 0.2775)),
    ((10, 0), (10, 20), (0.6791, 1.0000)),
])  # fmt: skip
def test_the_interval_of_a_difference_is_the_published_one(found, counts, ends):
    assert share_difference_interval(found, counts) == pytest.approx(ends, abs=6e-5)


def test_a_difference_where_there_is_none_is_told_apart_one_time_in_forty():
    drawn = np.random.default_rng(3).binomial(48, 0.1, size=(4000, 2))
    over = [share_difference_interval((int(one), int(other)), (48, 48))[0] > 0 for one, other in drawn]
    assert 0.005 < np.mean(over) < 0.03


def test_each_attack_counts_what_it_found():
    planted, held_back = [secret(True, 1)] * 6 + [secret(False, 1)] * 2 + [secret()] * 4, [secret()] * 12
    found = {each.attack: each for each in extractions(planted, held_back)}
    assert {name: each.planted.found for name, each in found.items()} == {"told": 6, "continued": 0, "ranked first": 8}
    assert {name: each.is_more for name, each in found.items()} == {
        "told": True, "continued": False, "ranked first": True
    }  # fmt: skip
    assert found["told"].more == 0.5


def test_a_share_has_wilson_s_interval():
    found = share_of([False] * 48)
    assert (found.found, found.of) == (0, 48)
    assert found.low == pytest.approx(0.0, abs=1e-12)
    assert found.high == pytest.approx(0.0741, abs=1e-4)  # docs/memorisation.md says 7.4 %


def test_exposure_is_in_bits_and_that_of_a_guess_has_its_own_mean():
    first = exposure([secret(rank=1)] * 4, [secret(rank=32)] * 4, 31)
    assert (first.planted, first.held_back, first.is_more) == (5.0, 0.0, True)
    alike = [secret(rank=rank) for rank in range(1, 33)]
    same = exposure(alike, alike, 31)
    assert same.planted == pytest.approx(np.mean([math.log2(32 / rank) for rank in range(1, 33)]))
    assert (same.more, same.is_more) == (0.0, False)
    assert same.more_low == -same.more_high < 0
