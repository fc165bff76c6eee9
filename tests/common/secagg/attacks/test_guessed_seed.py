"""A mask seed guessed from 32 bits: the attack on Flower's SecAgg+ (flwr 1.41), and why there is nothing to guess here.

Flower folds a 32-byte mask seed to 32 bits by exclusive or and gives them to NumPy's Mersenne Twister; of a pairwise
key it folds the base64 text, which leaves 28. The server then tries all seeds until the unmasked values are small.
The test plants the seed in a window of 2^16 to stay quick; all 2^28 take some hours on one core.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
from flwr.common.secure_aggregation.quantization import quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

from sealora_common.entropy import SystemEntropy
from sealora_common.secagg import RingVector, Segment, keys, masks

from secagg_runs import Federation, Run

LENGTH = 64
TARGET_RANGE = 1 << 22  # Flower's defaults
MOD_RANGE = 1 << 32
WINDOW = 1 << 16


def folded(seed: bytes) -> int:
    """The 32 bits that Flower makes of a seed."""
    words = (int.from_bytes(seed[start : start + 4], "little") for start in range(0, len(seed), 4))
    result = 0
    for word in words:
        result ^= word
    return result


def first_small(masked: np.ndarray, first_seed: int, window: int = WINDOW) -> int | None:
    """The seed in a window under which the first eight values unmask to small numbers."""
    for guess in range(first_seed, first_seed + window):
        mask = pseudo_rand_gen(guess.to_bytes(4, "little"), MOD_RANGE, [(8,)])[0]
        if ((masked[:8] - mask) % MOD_RANGE < TARGET_RANGE).all():
            return guess
    return None


def test_flowers_mask_is_found_by_trying_seeds() -> None:
    delta = np.random.default_rng(1).normal(0.0, 0.002, LENGTH)
    plain = quantize([delta], 8.0, TARGET_RANGE)[0]
    seed = os.urandom(32)  # as Flower draws the seed of a site's private mask
    masked = (plain + pseudo_rand_gen(seed, MOD_RANGE, [(LENGTH,)])[0]) % MOD_RANGE

    guess = first_small(masked, folded(seed) & ~(WINDOW - 1))
    assert guess == folded(seed)
    mask = pseudo_rand_gen(guess.to_bytes(4, "little"), MOD_RANGE, [(LENGTH,)])[0]
    read = (masked - mask) % MOD_RANGE
    assert np.array_equal(read, plain)
    assert np.abs(read * (16.0 / TARGET_RANGE) - 8.0 - delta).max() < 1e-5


def test_flowers_pairwise_masks_have_28_bits() -> None:
    private = ec.generate_private_key(ec.SECP384R1())
    used = 0
    for _ in range(200):
        peer = ec.generate_private_key(ec.SECP384R1()).public_key()
        used |= folded(generate_shared_key(private, peer))
    assert used.bit_count() <= 28


def test_the_search_finds_nothing_in_a_sealed_vector() -> None:
    """The same search over Sealora's masked words, whose mask is a keystream of AES-256 and not of a 32-bit seed."""
    segments = (Segment(LENGTH, 32),)
    small = RingVector(segments, (np.arange(LENGTH, dtype="<u4"),))
    masks.apply_masks(small, [os.urandom(32)], [])
    assert first_small(small.words[0].astype(np.int64), 0, window=WINDOW // 8) is None


def recorded(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[bytes]:
    """Notes the first bytes-like argument of every call."""
    seen: list[bytes] = []
    original: Callable[..., Any] = getattr(owner, name)

    def note(*args: Any, **kwargs: Any) -> Any:
        seen.append(bytes(next(arg for arg in args if isinstance(arg, bytes))))
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, note)
    return seen


def test_no_step_from_secret_to_mask_is_narrower_than_256_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    derived_from = recorded(monkeypatch, HKDF, "derive")
    cipher_keys = recorded(monkeypatch, masks.algorithms, "AES256")
    drawn: list[int] = []

    class Counted(SystemEntropy):
        def bytes(self, count: int, /) -> bytes:
            drawn.append(count)
            return super().bytes(count)

    monkeypatch.setattr("secagg_runs.SystemEntropy", Counted)
    Run(Federation.of(3)).finish()
    assert set(drawn) == {32}
    assert len(drawn) == 3 * 3  # share seed, mask seed and self-mask seed of every site
    assert {len(secret) for secret in derived_from} == {32, 64}  # 64: of two neighbours that drew each other
    assert {len(key) for key in cipher_keys} == {32}
    assert len(set(cipher_keys)) == 3 + 3  # every site's own, every pair's
    assert algorithms.AES256(bytes(32)).key_size == 256


def test_every_bit_of_a_seed_counts() -> None:
    seed, terms = os.urandom(32), os.urandom(32)
    near = [bytes(byte ^ (bit // 8 == place) << bit % 8 for place, byte in enumerate(seed)) for bit in range(256)]
    made = {keys.self_mask_key(one, 0, terms) for one in [seed, *near]}
    assert len(made) == 257
    # And each bit of the key counts for the stream: no two of them agree in their first 128 bits.
    streams = set()
    for key in made:
        vector = RingVector.zeros((Segment(4, 32),))
        masks.apply_masks(vector, [key], [])
        streams.add(vector.pack())
    assert len(streams) == 257


def test_seeds_that_flower_folds_alike_make_different_masks() -> None:
    seed = os.urandom(32)
    alike = seed[4:8] + seed[:4] + seed[8:]
    assert folded(seed) == folded(alike)
    assert np.array_equal(*(pseudo_rand_gen(one, MOD_RANGE, [(8,)])[0] for one in (seed, alike)))
    assert keys.self_mask_key(seed, 0, bytes(32)) != keys.self_mask_key(alike, 0, bytes(32))
