"""Time to mask one vector: Sealora's, Flower SecAgg+'s, and the keystream alone."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from flwr.common import ndarray_to_bytes
from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_combine,
    parameters_addition,
    parameters_mod,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key,
    bytes_to_public_key,
    generate_key_pairs,
    private_key_to_bytes,
    public_key_to_bytes,
)
from numpy.typing import NDArray

from sealora_common.entropy import SystemEntropy
from sealora_common.secagg import RingVector, Segment, keys
from sealora_common.secagg.encoding import FixedPoint
from sealora_common.secagg.masks import apply_masks

RING_BITS = 16  # the recipe's default
FLOWER_CLIP, FLOWER_LEVELS, FLOWER_MODULUS = 8.0, 2**22, 2**32  # SecAggPlusWorkflow's defaults
_BLOCK_BYTES = 1 << 17  # the quickest of 32 KiB to 1 MiB, and five times as quick as one call a stream


def measure(length: int, *, neighbours: int, repeats: int) -> dict[str, float]:
    """Times of masking `length` parameters with `neighbours` pairwise masks and one more."""
    values = np.random.default_rng(0).normal(0, 2e-3, length).astype(np.float32)
    mask_keys = [os.urandom(32) for _ in range(neighbours + 1)]
    encoding = FixedPoint(-0.012, 0.012, RING_BITS, parties=neighbours + 1)
    vectors = {}
    for bits in (RING_BITS, 32):
        segments = (Segment(length, bits),)
        words, _ = FixedPoint(-0.012, 0.012, bits, parties=neighbours + 1).encode(values, SystemEntropy())
        vectors[bits] = RingVector(segments, (words,))
    quantized = factor_combine(FLOWER_LEVELS, quantize([values], FLOWER_CLIP, FLOWER_LEVELS))
    half = len(mask_keys) // 2

    def keystream(bits: int) -> Callable[[], None]:
        return lambda: _keystream(vectors[bits].segments[0].packed_bytes, mask_keys)

    medians = _interleaved(
        {
            "mask_seconds": (3, lambda: apply_masks(vectors[RING_BITS], mask_keys[half:], mask_keys[:half])),
            "keystream_seconds": (3, keystream(RING_BITS)),
            "mask_32bit_seconds": (3, lambda: apply_masks(vectors[32], mask_keys[half:], mask_keys[:half])),
            "keystream_32bit_seconds": (3, keystream(32)),
            "flower_mask_seconds": (1, lambda: _flower_masked(quantized, mask_keys)),
            "encode_seconds": (1, lambda: encoding.encode(values, SystemEntropy())),
            "flower_quantize_seconds": (1, lambda: quantize([values], FLOWER_CLIP, FLOWER_LEVELS)),
            "pack_seconds": (1, vectors[RING_BITS].pack),
        },
        repeats,
    )
    on_the_wire = [ndarray_to_bytes(array) for array in _flower_masked(quantized, mask_keys[:2])]
    return medians | {
        "mask_ratio": medians["flower_mask_seconds"] / medians["mask_seconds"],
        "mask_32bit_ratio": medians["flower_mask_seconds"] / medians["mask_32bit_seconds"],
        "keystream_ratio": medians["mask_seconds"] / medians["keystream_seconds"],
        "keystream_32bit_ratio": medians["mask_32bit_seconds"] / medians["keystream_32bit_seconds"],
        "flower_bytes_per_param": sum(map(len, on_the_wire)) / length,
    }


def measure_agreement(repeats: int) -> dict[str, float]:
    """Time to agree on one pairwise mask's key."""
    pair, bound = keys.KeyPair(os.urandom(32)), b"bound"

    def agree() -> bytes:
        """What a pair costs both sites together: each seals its contribution to the other, and opens the other's."""
        return pair.unseal(keys.seal(bytes(32), pair.public, bound), bound)

    flower_private = private_key_to_bytes(generate_key_pairs()[0])
    flower_peer = public_key_to_bytes(generate_key_pairs()[1])
    medians = _interleaved(
        {
            "agree_seconds": (1, agree),
            "flower_agree_seconds": (
                1,
                lambda: generate_shared_key(bytes_to_private_key(flower_private), bytes_to_public_key(flower_peer)),
            ),
        },
        repeats,
    )
    return {key.replace("seconds", "milliseconds_per_pair"): 1000 * value for key, value in medians.items()}


def _interleaved(candidates: dict[str, tuple[int, Callable[[], object]]], repeats: int) -> dict[str, float]:
    """Median seconds of each candidate; its number says how often it runs in one repeat."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, (times, run) in candidates.items():
            for _ in range(times):
                started = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def _keystream(length: int, mask_keys: list[bytes]) -> None:
    """AES-256-CTR bytes alone, `length` for each key, as fast as `cryptography` makes them."""
    zeros = memoryview(bytes(_BLOCK_BYTES))
    buffer = bytearray(_BLOCK_BYTES + 15)
    for key in mask_keys:
        stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
        for start in range(0, length, _BLOCK_BYTES):
            stream.update_into(zeros[: min(_BLOCK_BYTES, length - start)], buffer)


def _flower_masked(quantized: list[NDArray[np.int64]], seeds: list[bytes]) -> list[NDArray[np.int64]]:
    """What `_collect_masked_vectors` of Flower's `secaggplus_mod` does between quantising and sending."""
    shapes = [array.shape for array in quantized]
    masked = parameters_addition(quantized, pseudo_rand_gen(seeds[0], FLOWER_MODULUS, shapes))
    for position, seed in enumerate(seeds[1:]):
        mask = pseudo_rand_gen(seed, FLOWER_MODULUS, shapes)
        masked = (parameters_addition if position % 2 else parameters_subtraction)(masked, mask)
    return parameters_mod(masked, FLOWER_MODULUS)
