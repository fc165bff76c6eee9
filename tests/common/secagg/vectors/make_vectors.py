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
from unittest.mock import patch

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

sys.path.insert(0, str(Path(__file__).parents[3]))

import secagg_reference as reference
from sealora_common.entropy import SeededEntropy
from sealora_common.identity import Identity
from sealora_common.identity.hybrid import LABEL, SigningKey
from sealora_common.roster import Roster
from sealora_common.secagg import RingVector, RoundTerms, Segment, ServerSession, SiteSession, keys, rotation
from sealora_common.secagg import messages as messages_module
from sealora_common.secagg import site as site_module
from sealora_common.secagg.encoding import FixedPoint
from sealora_common.secagg.masks import apply_masks
from sealora_common.secagg.ring import pack
from sealora_common.secagg.rotation import rotate

HERE = Path(__file__).parent
BITS = (12, 13, 16, 17, 24, 31, 32)
TERMS: dict[str, Any] = {
    "run": bytes(range(16)).hex(),
    "round_number": 3,
    "attempt": 2,
    "recipe_hash": "11" * 32,
    "roster_hash": "22" * 32,
    "order_digest": "33" * 32,
    "roster_size": 4,
    "threshold": 3,
    "min_survivors": 2,
    "sparse": True,
}
SEGMENTS = [(5, 13), (3, 32)]
DROPPED = 2  # at the mask stage


def named(*name: str | int) -> bytes:
    """32 bytes of a name."""
    return hashlib.sha256("/".join(map(str, ("sealora vector", *name))).encode()).digest()


def fixed_terms() -> RoundTerms:
    digests = {name: bytes.fromhex(value) for name, value in TERMS.items() if isinstance(value, str)}
    return RoundTerms(**(TERMS | digests), segments=tuple(Segment(*segment) for segment in SEGMENTS))


class Fixed:
    """Entropy that hands out three named secrets in turn."""

    def __init__(self, site: int) -> None:
        self._left = [named(site, purpose) for purpose in ("share key", "mask key", "self-mask seed")]

    def bytes(self, count: int, /) -> bytes:
        assert count == 32
        return self._left.pop(0)


def fixed_split(secret: bytes, threshold: int, count: int) -> list[bytes]:
    """Shares whose polynomial follows from the secret, for a round that is the same every time."""
    coefficients = [named("coefficient", secret.hex(), power) for power in range(1, threshold)]
    return reference.shamir_shares(secret, coefficients, range(1, count + 1))


def fixed_vector(site: int) -> list[list[int]]:
    """A site's plain words, by segment."""
    return [
        [int.from_bytes(named(site, "word", bits, place)[:4], "big") % 2**bits // 4 for place in range(length)]
        for length, bits in SEGMENTS
    ]


NO_MLDSA = bytes(3309)
"""In the place of the half of a signature that is drawn anew each time."""


def half_sign(key: SigningKey, message: bytes) -> bytes:
    return key.ed25519.sign(LABEL + message) + NO_MLDSA


def half_verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    Ed25519PublicKey.from_public_bytes(public_key[:32]).verify(signature[:64], LABEL + message)
    return signature[64:] == NO_MLDSA


def kept(message: bytes) -> str:
    """A message as the file has it: without the place of the ML-DSA half."""
    return message.replace(NO_MLDSA, b"").hex()


def fixed_round() -> dict[str, Any]:
    """All messages of a round of four sites, one of which drops out before it masks, and the opened sum."""
    with patch.object(SigningKey, "sign", half_sign), patch.object(messages_module, "verify", half_verify):
        return _fixed_round()


def _fixed_round() -> dict[str, Any]:
    names = [f"site-{index}" for index in range(4)]
    identities = {name: Identity.create(name, SeededEntropy(name)) for name in names}
    coordinator = Identity.create("coordinator", SeededEntropy("coordinator"))
    roster = Roster.create("vectors", {name: each.public_key for name, each in identities.items()}, coordinator)
    terms = fixed_terms()
    server = ServerSession(terms, roster)
    sites: dict[int, SiteSession] = {}
    messages: dict[str, dict[str, str]] = {stage: {} for stage in ("advertise", "share", "mask", "confirm", "open")}
    requests: dict[str, dict[str, str]] = {stage: {} for stage in ("share", "mask", "confirm", "open")}

    for index, name in enumerate(names):
        sites[index], message = SiteSession.begin(terms, roster, identities[name], Fixed(index))
        messages["advertise"][str(index)] = kept(message)
        server.add_advertisement(message)
    with patch.object(site_module.shares, "split", fixed_split):
        for index, request in server.close_advertisements().items():
            requests["share"][str(index)] = hashlib.sha256(request).hexdigest()
            message = sites[index].share(request)
            messages["share"][str(index)] = kept(message)
            server.add_shares(message)
    for index, request in server.close_shares().items():
        requests["mask"][str(index)] = request.hex()
        if index == DROPPED:
            continue
        words = tuple(
            np.array(each, dtype=segment.dtype)
            for each, segment in zip(fixed_vector(index), terms.segments, strict=True)
        )
        message = sites[index].mask(request, RingVector(terms.segments, words))
        messages["mask"][str(index)] = kept(message)
        server.add_masked(message)
    for index, request in server.close_masked().items():
        requests["confirm"][str(index)] = hashlib.sha256(request).hexdigest()
        message = sites[index].confirm(request)
        messages["confirm"][str(index)] = kept(message)
        server.add_confirmation(message)
    for index, request in server.close_confirmations().items():
        requests["open"][str(index)] = hashlib.sha256(request).hexdigest()
        message = sites[index].open(request)
        messages["open"][str(index)] = kept(message)
        server.add_opening(message)
    opened = server.open()
    return {
        "terms": TERMS,
        "segments": SEGMENTS,
        "identities": {name: SeededEntropy(name).bytes(64).hex() for name in names},
        "public_keys": [identities[name].public_key_text for name in names],
        "terms_digest": terms.digest.hex(),
        "transcript": messages["confirm"]["0"][80:144],
        "messages": messages,
        "requests": requests,
        "survivors": list(opened.survivors),
        "sum": [words.tolist() for words in opened.vector.words],
    }


def key_vectors() -> dict[str, Any]:
    """Keys of pairs and of single sites."""
    digest = named("terms")
    made = []
    for low, high in ((0, 1), (3, 258), (999, 65535)):
        left, right = named(low, "private"), named(high, "private")
        publics = keys.public_key(left), keys.public_key(right)
        plaintext = b"what one site tells another"
        made.append(
            {
                "indices": [low, high],
                "privates": [left.hex(), right.hex()],
                "publics": [public.hex() for public in publics],
                "mask_key": keys.mask_key(left, publics[1], low, high, digest).hex(),
                "plaintext": plaintext.hex(),
                "low_to_high": keys.seal_for_peer(left, publics[1], low, high, digest, plaintext).hex(),
                "high_to_low": keys.seal_for_peer(right, publics[0], high, low, digest, plaintext).hex(),
                "self_mask_key_of_low": keys.self_mask_key(left, low, digest).hex(),
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
