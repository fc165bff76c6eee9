"""Secret sharing: any t shares restore the secret, t - 1 of them say nothing."""

from __future__ import annotations

import os
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.secagg import ProtocolError, shares

from secagg_reference import shamir_secret, shamir_shares


@settings(max_examples=15)
@given(secret=st.binary(min_size=32, max_size=32), count=st.integers(1, 6), data=st.data())
def test_any_threshold_many_shares_restore_the_secret(secret: bytes, count: int, data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, count))
    made = shares.split(secret, threshold, count)
    assert [len(share) for share in made] == [32] * count
    points = data.draw(st.lists(st.integers(1, count), min_size=threshold, max_size=count, unique=True))
    held = {point: made[point - 1] for point in points}
    assert shares.combine(held, threshold) == secret == shamir_secret(held)


def test_every_choice_of_three_of_five_restores_the_secret() -> None:
    secret = os.urandom(32)
    made = shares.split(secret, 3, 5)
    for points in combinations(range(1, 6), 3):
        assert shares.combine({point: made[point - 1] for point in points}, 3) == secret


def test_one_share_too_few_fits_every_secret() -> None:
    """For any two shares of a threshold of three, and any secret, there is a third share that restores it."""
    made = shares.split(os.urandom(32), 3, 5)
    for guess in (bytes(32), b"\xff" * 32, os.urandom(32)):
        # The parabola through the secret at 0 and the shares at 1 and 2, at 3: points moved by 3, so that 3 is zero.
        third = shamir_secret({0 ^ 3: guess, 1 ^ 3: made[0], 2 ^ 3: made[1]})
        assert shares.combine({1: made[0], 2: made[1], 3: third}, 3) == guess


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32], ids=["zeros", "ones"])
def test_bytes_of_a_share_are_uniform_whatever_the_secret(secret: bytes) -> None:
    """Chi-square over all bytes of the shares of two holders, threshold three, at a level of about 1e-7."""
    counts = np.zeros((2, 256))
    for _ in range(300):
        made = shares.split(secret, 3, 2 + 1)
        for place in (0, 1):
            counts[place] += np.bincount(np.frombuffer(made[place], dtype=np.uint8), minlength=256)
    expected = 300 * 32 / 256
    for each in counts:
        assert ((each - expected) ** 2 / expected).sum() < 390  # 255 degrees of freedom


def test_the_same_secret_is_never_shared_alike() -> None:
    made = {tuple(shares.split(bytes(32), 2, 2)) for _ in range(50)}
    assert len(made) == 50


def test_a_wrong_share_gives_a_wrong_secret() -> None:
    secret = os.urandom(32)
    made = dict(enumerate(shares.split(secret, 3, 3), start=1))
    made[2] = os.urandom(32)
    assert shares.combine(made, 3) != secret


def test_too_few_shares_are_refused() -> None:
    made = shares.split(os.urandom(32), 3, 3)
    with pytest.raises(ProtocolError, match="2 shares cannot restore a secret that needs 3"):
        shares.combine({1: made[0], 2: made[1]}, 3)


@pytest.mark.parametrize(("length", "threshold", "count"), [(31, 2, 3), (33, 2, 3), (32, 0, 3), (32, 4, 3)])
def test_impossible_splits_are_refused(length: int, threshold: int, count: int) -> None:
    with pytest.raises(ValueError, match="Expected 32 bytes"):
        shares.split(bytes(length), threshold, count)


def test_the_reference_shares_the_same_way() -> None:
    secret, coefficients = os.urandom(32), [os.urandom(32), os.urandom(32)]
    made = dict(zip((4, 9, 300), shamir_shares(secret, coefficients, (4, 9, 300)), strict=True))
    assert shares.combine(made, 3) == secret
