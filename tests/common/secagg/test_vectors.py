"""Known-answer vectors of every step: the code against the files, and the files against an independent derivation.

A change of any derivation or format fails here. If it is meant, `vectors/make_vectors.py` writes the files anew.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealora_common.entropy import SeededEntropy
from sealora_common.identity import key_parts
from sealora_common.identity.hybrid import SigningKey
from sealora_common.secagg import RingVector, Segment, keys, masks, shares
from sealora_common.secagg.bodies import Envelope, Given
from sealora_common.secagg.ring import pack, unpack
from sealora_common.secagg.rotation import rotate, unrotate

import hpke_reference as hpke
import secagg_reference as reference
from secagg_fixed_round import named

VECTORS = Path(__file__).parent / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def maker() -> Any:
    spec = importlib.util.spec_from_file_location("make_vectors", VECTORS / "make_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = maker()
STANDARDS = {
    name: {field: value if field == "source" else bytes.fromhex(value) for field, value in vector.items()}
    for name, vector in load("standards.json").items()
}


@pytest.mark.parametrize("name", MAKER.FILES)
def test_the_code_still_makes_the_vectors(name: str) -> None:
    assert json.loads(json.dumps(MAKER.FILES[name]())) == load(name)


# --- the reference and the primitives against the standards


def test_x25519_is_that_of_rfc_7748() -> None:
    known = STANDARDS["x25519"]
    assert hpke.x25519_public(known["alice_private"]) == known["alice_public"]
    assert hpke.x25519_public(known["bob_private"]) == known["bob_public"]
    assert hpke.x25519(known["bob_private"], known["alice_public"]) == known["shared"]
    assert hpke.x25519(known["alice_private"], known["bob_public"]) == known["shared"]


def test_key_pairs_are_those_of_x_wing() -> None:
    known = STANDARDS["x_wing"]
    assert keys.KeyPair(known["seed"]).public == known["public"]
    assert hpke.x_wing_public(known["seed"]) == known["public"]
    assert hpke.x_wing_encapsulate(known["public"], known["randomness"]) == (
        known["ciphertext"],
        known["shared"],
    )
    assert hpke.x_wing_decapsulate(known["seed"], known["ciphertext"]) == known["shared"]


def test_sealing_is_hpke_with_x_wing() -> None:
    """The drafts' encapsulation under the RFC's key schedule: what either of code and reference seals, both open."""
    known = STANDARDS["x_wing"]
    pair = keys.KeyPair(known["seed"])
    for plaintext in (b"", b"what one site tells another", bytes(64)):
        sealed = hpke.seal(plaintext, known["public"], b"bound", known["randomness"])
        assert sealed[:1120] == known["ciphertext"]
        assert pair.unseal(sealed, b"bound") == plaintext
        assert hpke.unseal(sealed, known["seed"], b"bound") == plaintext
        assert hpke.unseal(keys.seal(plaintext, pair.public, b"bound"), known["seed"], b"bound") == plaintext


def test_the_key_schedule_is_that_of_rfc_9180() -> None:
    known = STANDARDS["hpke"]
    key, nonce = hpke.key_schedule(known["shared"], known["info"], 0x20)  # DHKEM(X25519, HKDF-SHA256)
    assert (key, nonce) == (known["key"], known["base_nonce"])
    assert hpke.chacha20_poly1305(key, nonce, known["plaintext"], known["bound"]) == known["ciphertext"]


def test_hkdf_is_that_of_rfc_5869() -> None:
    known = STANDARDS["hkdf_sha256"]
    assert hpke.hkdf_sha256(known["secret"], known["salt"], known["info"], 42) == known["output"]
    derived = keys._derive(known["secret"], known["salt"], b"any purpose")
    assert derived == hpke.hkdf_sha256(known["secret"], known["salt"], b"sealora secagg v2 any purpose", 32)


def test_chacha20_poly1305_is_that_of_rfc_8439() -> None:
    known = STANDARDS["chacha20_poly1305"]
    sealed = hpke.chacha20_poly1305(known["key"], known["nonce"], known["plaintext"], known["bound"])
    assert sealed == known["ciphertext"] + known["tag"]


def test_aes_256_ctr_is_that_of_sp_800_38a() -> None:
    known = STANDARDS["aes_256_ctr"]
    stream = bytes(a ^ b for a, b in zip(known["plaintext"], known["ciphertext"], strict=True))
    assert reference.aes_256_ctr(known["key"], 64, int.from_bytes(known["counter"], "big")) == stream


def test_mask_streams_begin_where_gcm_begins_to_encrypt() -> None:
    known = STANDARDS["gcm"]["ciphertext"]
    assert reference.aes_256_ctr(bytes(32), 16, counter=2) == known
    vector = RingVector.zeros((Segment(4, 16), Segment(2, 32)))
    masks.apply_masks(vector, [bytes(32)], [])
    assert vector.pack() == known


def test_ed25519_is_that_of_rfc_8032() -> None:
    known = STANDARDS["ed25519"]
    key = SigningKey.from_seeds(known["private"], bytes(32))
    assert key_parts(key.public_key)[0] == known["public"]
    assert key.ed25519.sign(known["message"]) == known["signature"]
    assert reference.ed25519_sign(known["private"], known["message"]) == known["signature"]
    labelled = reference.SIGNATURE_LABEL + known["message"]
    assert key.sign(known["message"])[:64] == reference.ed25519_sign(known["private"], labelled)


# --- each step against the reference


@pytest.mark.parametrize("vector", load("keys.json")["pairs"], ids=lambda vector: str(vector["indices"]))
def test_keys_of_a_pair(vector: dict[str, Any]) -> None:
    digest = bytes.fromhex(load("keys.json")["terms_digest"])
    low, high = vector["indices"]
    share_public = hpke.x_wing_public(named(high, "share seed"))
    mask_public = hpke.x_wing_public(named(high, "mask seed"))
    assert (vector["share_public"], vector["mask_public"]) == (share_public.hex(), mask_public.hex())
    assert vector["advertisement_digest"] == hashlib.sha256(share_public + mask_public).hexdigest()

    of_low = reference.contribution(named(low, "mask seed"), low, high, digest)
    of_high = reference.contribution(named(high, "mask seed"), high, low, digest)
    assert vector["contributions"] == [of_low.hex(), of_high.hex()]
    assert vector["mask_keys"] == {
        "lower drew": reference.mask_key(of_low, None, low, high, digest).hex(),
        "higher drew": reference.mask_key(None, of_high, low, high, digest).hex(),
        "both drew": reference.mask_key(of_low, of_high, low, high, digest).hex(),
    }
    assert vector["self_mask_key_of_low"] == reference.self_mask_key(named(low, "self mask"), low, digest).hex()
    of_seed = reference.commitment(b"seed", low, low, named(low, "self mask"), digest)
    assert vector["seed_commitment_of_low"] == of_seed.hex()


@pytest.mark.parametrize("vector", load("keys.json")["pairs"], ids=lambda vector: str(vector["indices"]))
def test_what_one_site_gives_to_another(vector: dict[str, Any]) -> None:
    digest = bytes.fromhex(load("keys.json")["terms_digest"])
    low, high = vector["indices"]
    values = {
        b"self mask": named(low, "a share"),
        b"mask seed": named(low, "another share"),
        b"contribution": named(low, "contribution"),
    }
    committed = [reference.commitment(what, low, high, value, digest).hex() for what, value in values.items()]
    assert vector["commitments"] == committed
    bound = [reference.bound_to(what, low, high, digest) for what in (b"shares", b"contribution")]
    assert vector["bound_to"] == [each.hex() for each in bound]

    envelope = Envelope(*map(bytes.fromhex, vector["envelope"]))
    share_seed, mask_seed = named(high, "share seed"), named(high, "mask seed")
    given = envelope.unseal(keys.KeyPair(share_seed), keys.KeyPair(mask_seed), low, high, digest)
    assert given == Given(*values.values())
    assert hpke.unseal(envelope.shares, share_seed, bound[0]) == given.self_mask + given.mask_seed
    assert hpke.unseal(envelope.contribution, mask_seed, bound[1]) == given.contribution


@pytest.mark.parametrize("vector", load("masks.json"), ids=lambda vector: str(vector["segments"]))
def test_mask_streams(vector: dict[str, Any]) -> None:
    words = reference.mask_words(bytes.fromhex(vector["key"]), vector["segments"])
    plus = b"".join(reference.pack(each, bits) for each, (_, bits) in zip(words, vector["segments"], strict=True))
    if "sha256" in vector:
        assert vector["sha256"] == hashlib.sha256(plus).hexdigest()
        return
    assert vector["plus"] == plus.hex()
    minus = [
        reference.pack([-word % 2**bits for word in each], bits)
        for each, (_, bits) in zip(words, vector["segments"], strict=True)
    ]
    assert vector["minus"] == b"".join(minus).hex()


@pytest.mark.parametrize("vector", load("shares.json"), ids=lambda vector: str(vector["threshold"]))
def test_shares(vector: dict[str, Any]) -> None:
    held = {int(point): bytes.fromhex(share) for point, share in vector["shares"].items()}
    threshold, secret = vector["threshold"], bytes.fromhex(vector["secret"])
    assert reference.shamir_secret(dict(list(held.items())[:threshold])) == secret
    assert reference.shamir_secret(dict(list(held.items())[-threshold:])) == secret
    assert shares.combine(held, threshold) == secret
    assert shares.combine(dict(reversed(list(held.items())[-threshold:])), threshold) == secret


def test_the_codes_shares_are_restored_by_the_reference() -> None:
    secret = bytes(range(32))
    made = shares.split(secret, 3, 7)
    for points in ((1, 2, 3), (7, 3, 5), (2, 4, 6, 7)):
        assert reference.shamir_secret({point: made[point - 1] for point in points}) == secret


@pytest.mark.parametrize("vector", load("packing.json"), ids=lambda each: f"{each['bits']}x{len(each['words'])}")
def test_packing(vector: dict[str, Any]) -> None:
    bits, words = vector["bits"], vector["words"]
    packed = reference.pack(words, bits)
    assert vector["packed"] == packed.hex()
    segment = Segment(len(words), bits)
    assert pack(np.array(words, dtype=segment.dtype), bits) == packed
    assert unpack(packed, segment).tolist() == words


@pytest.mark.parametrize("vector", load("encoding.json"), ids=lambda each: f"{each['bits']}, {each['parties']}")
def test_encoding(vector: dict[str, Any]) -> None:
    low, high, bits, parties = (vector[name] for name in ("low", "high", "bits", "parties"))
    words = reference.encode(vector["values"], low, high, bits, parties, bytes.fromhex(vector["key"]))
    assert vector["words"] == words
    assert vector["clipped"] == sum(not low <= value <= high for value in vector["values"])
    assert max(words) == (2**bits - 1) // parties


def test_rotation() -> None:
    vector = load("rotation.json")
    signs = MAKER._signs(vector["seed"]).tolist()
    assert [int(sign) for sign in signs[:64]] == vector["first_signs"]
    ramp = [place / 4096 for place in range(4096)]
    assert vector["ramp_first"] == pytest.approx(reference.hadamard_rows(ramp, signs, 8), abs=1e-12)
    assert vector["unit_first"] == pytest.approx([signs[0] / 64] * 4, abs=1e-15)
    assert unrotate(rotate(np.array(ramp[:1000]), "seed"), "seed", 1000) == pytest.approx(ramp[:1000], abs=1e-12)


def test_the_insecure_seed_of_tests_is_a_keystream_too() -> None:
    key = hashlib.sha256(b"a\x1f1").digest()
    assert SeededEntropy("a", 1).bytes(100) == reference.aes_256_ctr(key, 100)
