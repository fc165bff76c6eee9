"""Makes the known-answer vectors of this folder: `python tests/common/secagg/vectors/make_vectors.py`.

Run it only when a derivation or a format is meant to change, and read the difference: `test_vectors` compares the
code with these files, and the files with `secagg_reference`, which shares no code with Sealora.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[3]))

from sealora_common.entropy import SeededEntropy
from sealora_common.identity import SIGNATURE_BYTES
from sealora_common.secagg import RingVector, Segment, keys, rotation
from sealora_common.secagg.bodies import Advertisement, Given
from sealora_common.secagg.encoding import FixedPoint
from sealora_common.secagg.masks import apply_masks
from sealora_common.secagg.ring import pack
from sealora_common.secagg.rotation import rotate

import secagg_reference as reference
from secagg_fixed_round import SEGMENTS, TERMS, fixed_seal, named, run_fixed_round

HERE = Path(__file__).parent
BITS = (12, 13, 16, 17, 24, 31, 32)


def fixed_round() -> dict[str, Any]:
    """What all messages of the fixed round say, without their signatures, and the opened sum."""
    made = run_fixed_round()
    transcript = made.server._transcript
    return {
        "terms": TERMS,
        "segments": SEGMENTS,
        "terms_bytes": made.terms.to_bytes().hex(),
        "terms_digest": made.terms.digest.hex(),
        "shared_digest": transcript.shared_digest.hex(),
        "transcript_digest": transcript.digest.hex(),
        "transcript_bytes": transcript.to_bytes().hex(),
        "contents": {
            stage: {str(index): message[:-SIGNATURE_BYTES].hex() for index, message in each.items()}
            for stage, each in made.messages.items()
        },
        "envelopes": {
            str(owner): {
                str(holder): hashlib.sha256(envelope.to_bytes()).hexdigest()
                for holder, envelope in shared.envelopes.items()
            }
            for owner, shared in made.shared.items()
        },
        "packed": {str(index): packed.hex() for index, packed in made.packed.items()},
        "survivors": list(made.opened.survivors),
        "sum": [words.tolist() for words in made.opened.vector.words],
    }


def key_vectors() -> dict[str, Any]:
    """Key pairs from seeds, what is derived from secrets, and what is sealed by one site to another."""
    digest = named("terms")
    made = []
    for low, high in ((0, 1), (3, 258), (999, 65535)):
        share_seed, mask_seed, self_mask = named(high, "share seed"), named(high, "mask seed"), named(low, "self mask")
        given = Given(named(low, "a share"), named(low, "another share"), named(low, "contribution"))
        committed = given.commitments(low, high, digest)
        of_low = keys.contribution(named(low, "mask seed"), low, high, digest)
        of_high = keys.contribution(mask_seed, high, low, digest)
        to = Advertisement(keys.KeyPair(share_seed).public, keys.KeyPair(mask_seed).public)
        bound = [keys.bound_to(what, low, high, digest) for what in (b"shares", b"contribution")]
        made.append(
            {
                "indices": [low, high],
                "share_public": to.share_public.hex(),
                "mask_public": to.mask_public.hex(),
                "advertisement_digest": to.digest.hex(),
                "contributions": [of_low.hex(), of_high.hex()],
                "mask_keys": {
                    "lower drew": keys.mask_key(of_low, None, low, high, digest).hex(),
                    "higher drew": keys.mask_key(None, of_high, low, high, digest).hex(),
                    "both drew": keys.mask_key(of_low, of_high, low, high, digest).hex(),
                },
                "self_mask_key_of_low": keys.self_mask_key(self_mask, low, digest).hex(),
                "seed_commitment_of_low": keys.commitment(b"seed", low, low, self_mask, digest).hex(),
                "commitments": [committed.self_mask.hex(), committed.mask_seed.hex(), committed.contribution.hex()],
                "bound_to": [each.hex() for each in bound],
                "envelope": [
                    fixed_seal(given.self_mask + given.mask_seed, to.share_public, bound[0]).hex(),
                    fixed_seal(given.contribution, to.mask_public, bound[1]).hex(),
                ],
            }
        )
    return {"terms_digest": digest.hex(), "pairs": made}


def mask_vectors() -> list[dict[str, Any]]:
    """A vector of zeros after one key was added, and after it was subtracted."""
    made = []
    for segments in ([(9, 12)], [(5, 13), (3, 17), (0, 12), (2, 32)], [(8, 16), (4, 32)]):
        key = named("mask", str(segments))
        shape = tuple(Segment(*segment) for segment in segments)
        plus, minus = RingVector.zeros(shape), RingVector.zeros(shape)
        apply_masks(plus, [key], [])
        apply_masks(minus, [], [key])
        made.append({"key": key.hex(), "segments": segments, "plus": plus.pack().hex(), "minus": minus.pack().hex()})
    long = RingVector.zeros((Segment(200_003, 16),))  # beyond a block of the implementation
    apply_masks(long, [named("long")], [])
    digest = hashlib.sha256(long.pack()).hexdigest()
    return [*made, {"key": named("long").hex(), "segments": [(200_003, 16)], "sha256": digest}]


def share_vectors() -> list[dict[str, Any]]:
    """Shares at given points, made by the reference, and the secret they restore."""
    made = []
    for threshold, points in ((1, [1]), (2, [1, 2, 3]), (3, [2, 5, 7, 11]), (5, [1, 3, 250, 257, 1000, 65535])):
        secret = named("secret", threshold)
        coefficients = [named("coefficient", threshold, power) for power in range(1, threshold)]
        shares = reference.shamir_shares(secret, coefficients, points)
        made.append(
            {
                "threshold": threshold,
                "secret": secret.hex(),
                "coefficients": [each.hex() for each in coefficients],
                "shares": {str(point): share.hex() for point, share in zip(points, shares, strict=True)},
            }
        )
    return made


def packing_vectors() -> list[dict[str, Any]]:
    """Words and their packed bytes, for every kind of width and for lengths that fill a byte and do not."""
    made = []
    for bits in BITS:
        for length in (1, 8, 11):
            words = [int.from_bytes(named("pack", bits, place)[:4], "big") % 2**bits for place in range(length)]
            words[-1] = 2**bits - 1
            packed = pack(np.array(words, dtype=Segment(length, bits).dtype), bits)
            made.append({"bits": bits, "words": words, "packed": packed.hex()})
    return made


def encoding_vectors() -> list[dict[str, Any]]:
    """Values, the key of the coins, and the encoded words."""
    values = [-3.0, -1.0, -0.75, -0.5000001, -1e-9, 0.0, 1e-9, 0.1, 0.3333333, 0.9999999, 1.0, 1.5]
    made = []
    for bits in BITS:
        for parties in (3, 64):
            words, clipped = FixedPoint(-1.0, 1.0, bits, parties).encode(
                np.array(values), SeededEntropy("coins", bits, parties)
            )
            made.append(
                {
                    "low": -1.0,
                    "high": 1.0,
                    "bits": bits,
                    "parties": parties,
                    "key": SeededEntropy("coins", bits, parties).bytes(32).hex(),
                    "values": values,
                    "words": words.tolist(),
                    "clipped": clipped,
                }
            )
    return made


def rotation_vectors() -> dict[str, Any]:
    """The signs of a seed, and a rotated unit vector and ramp."""
    ramp = np.arange(4096) / 4096
    ones = rotate(np.eye(1, 4096)[0], "seed")
    return {
        "seed": "seed",
        "signs_sha256": hashlib.sha256(np.sign(_signs("seed")).astype(np.int8).tobytes()).hexdigest(),
        "first_signs": [int(sign) for sign in _signs("seed")[:64]],
        "unit_first": ones[:4].tolist(),
        "ramp_first": rotate(ramp, "seed")[:8].tolist(),
    }


def _signs(seed: str) -> Any:
    return rotation._signs(4096, seed)


FILES = {
    "keys.json": key_vectors,
    "masks.json": mask_vectors,
    "shares.json": share_vectors,
    "packing.json": packing_vectors,
    "encoding.json": encoding_vectors,
    "rotation.json": rotation_vectors,
    "round.json": fixed_round,
}

if __name__ == "__main__":
    for name, make in FILES.items():
        (HERE / name).write_text(json.dumps(make(), indent=1) + "\n")
