"""The keystream is AES-256-CTR, in order and without gaps, however it is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from sealora_client.training.noise.keystream import UNIFORM_BITS, Keystream
from sealora_client.training.noise.lazy_uniform import LazyUniform
from sealora_common.entropy import SeededEntropy


def reference(count: int) -> bytes:
    key = SeededEntropy("keystream").bytes(32)
    return Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update(bytes(count))


@pytest.mark.parametrize("count", [0, 1, 3, (1 << 14) - 1, 1 << 14, (1 << 14) + 1, 3 << 14])
def test_words_are_the_stream_in_order(count: int) -> None:
    stream = Keystream(SeededEntropy("keystream"))
    words = np.concatenate([stream.words(count), stream.words(2)])
    assert words.tobytes() == reference(8 * count + 16)


def test_words_of_all_sizes_share_one_stream() -> None:
    stream = Keystream(SeededEntropy("keystream"))
    taken = stream.half_words(3).tobytes() + stream.words(2).tobytes() + stream.half_words(1).tobytes()
    assert taken == reference(32)


def test_integers_are_the_upper_bits_of_words() -> None:
    integers = Keystream(SeededEntropy("keystream")).integers(1000)
    assert integers.tolist() == [word >> (64 - UNIFORM_BITS) for word in np.frombuffer(reference(8000), "<u8").tolist()]


def test_two_streams_draw_two_keys() -> None:
    entropy = SeededEntropy("keystream")
    assert not np.intersect1d(Keystream(entropy).words(1000), Keystream(entropy).words(1000)).size


def test_a_lazy_uniform_narrows_within_its_interval() -> None:
    uniform = LazyUniform(Keystream(SeededEntropy("keystream")), 0b101, 3)
    assert (uniform.low, uniform.high) == (5 / 8, 6 / 8)
    low, high = uniform.low, uniform.high
    for extension in range(1, 4):
        uniform.extend()
        assert low <= uniform.low < uniform.high <= high
        assert uniform.high - uniform.low == 1 / (1 << uniform.bits)
        low, high = uniform.low, uniform.high
        assert uniform.numerator & (2**64 - 1) == int.from_bytes(
            reference(24)[8 * extension - 8 : 8 * extension], "little"
        )
