"""Known-answer vectors of every step: the code against the files, and the files against an independent derivation.

A change of any derivation or format fails here. If it is meant, `vectors/make_vectors.py` writes the files anew.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secagg_reference as reference
from sealora_common.entropy import SeededEntropy
from sealora_common.identity import key_parts
from sealora_common.identity.hybrid import SigningKey
from sealora_common.secagg import RingVector, Segment, keys, masks, shares
from sealora_common.secagg.ring import pack, unpack
from sealora_common.secagg.rotation import rotate, unrotate

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
ROUND = load("round.json")


@pytest.mark.parametrize("name", MAKER.FILES)
def test_the_code_still_makes_the_vectors(name: str) -> None:
    assert json.loads(json.dumps(MAKER.FILES[name]())) == load(name)


# --- the reference and the primitives against the standards


def test_x25519_is_that_of_rfc_7748() -> None:
    known = STANDARDS["x25519"]
    assert keys.public_key(known["alice_private"]) == known["alice_public"]
    assert keys.public_key(known["bob_private"]) == known["bob_public"]
    assert keys._agree(known["alice_private"], known["bob_public"]) == known["shared"]
    assert keys._agree(known["bob_private"], known["alice_public"]) == known["shared"]
    assert reference.x25519_public(known["alice_private"]) == known["alice_public"]
    assert reference.x25519(known["bob_private"], known["alice_public"]) == known["shared"]


def test_hkdf_is_that_of_rfc_5869() -> None:
    known = STANDARDS["hkdf_sha256"]
    assert reference.hkdf_sha256(known["secret"], known["salt"], known["info"], 42) == known["output"]
    derived = keys._derive(known["secret"], known["salt"], b"any purpose")
    assert derived == reference.hkdf_sha256(known["secret"], known["salt"], b"sealora secagg v1 any purpose", 32)


def test_chacha20_poly1305_is_that_of_rfc_8439() -> None:
    known = STANDARDS["chacha20_poly1305"]
    sealed = reference.chacha20_poly1305(known["key"], known["nonce"], known["plaintext"], known["bound"])
    assert sealed == known["ciphertext"] + known["tag"]
    assert keys.ChaCha20Poly1305(known["key"]).encrypt(known["nonce"], known["plaintext"], known["bound"]) == sealed


def test_aes_256_ctr_is_that_of_sp_800_38a(monkeypatch: pytest.MonkeyPatch) -> None:
    known = STANDARDS["aes_256_ctr"]
    stream = bytes(a ^ b for a, b in zip(known["plaintext"], known["ciphertext"], strict=True))
    assert reference.aes_256_ctr(known["key"], 64, int.from_bytes(known["counter"], "big")) == stream
    # Through the mask stream, which starts its counter at zero: told to start at the standard's instead.
    counter_mode = masks.modes.CTR
    monkeypatch.setattr(masks.modes, "CTR", lambda zero: counter_mode(known["counter"] if not any(zero) else zero))
    vector = RingVector.zeros((Segment(16, 16), Segment(8, 32)))
    masks.apply_masks(vector, [known["key"]], [])
    assert vector.pack() == stream


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
    left, right = (bytes.fromhex(private) for private in vector["privates"])
    publics = [bytes.fromhex(public) for public in vector["publics"]]
    assert [reference.x25519_public(private) for private in (left, right)] == publics
    agreed = reference.x25519(left, publics[1])
    assert reference.x25519(right, publics[0]) == agreed
    pair = reference.pair(low, high)

    mask = reference.derive(agreed, digest, b"pairwise mask" + pair)
    assert vector["mask_key"] == mask.hex()
    assert keys.mask_key(right, publics[0], high, low, digest) == mask

    encryption = reference.derive(agreed, digest, b"share encryption" + pair)
    plaintext = bytes.fromhex(vector["plaintext"])
    for name, sender, recipient, nonce in (("low_to_high", low, high, 0), ("high_to_low", high, low, 1)):
        bound = digest + struct.pack(">HH", sender, recipient)
        sealed = reference.chacha20_poly1305(encryption, nonce.to_bytes(12, "big"), plaintext, bound)
        assert vector[name] == sealed.hex()
    assert keys.open_from_peer(right, publics[0], low, high, digest, bytes.fromhex(vector["low_to_high"])) == plaintext
    assert keys.open_from_peer(left, publics[1], high, low, digest, bytes.fromhex(vector["high_to_low"])) == plaintext

    own = reference.derive(left, digest, b"self mask" + struct.pack(">H", low))
    assert vector["self_mask_key_of_low"] == own.hex()


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


# --- a whole round, byte for byte


class ReferenceRound:
    """The fixed round, worked out by the reference from its private keys."""

    def __init__(self) -> None:
        self.digest = reference.terms_digest(ROUND["terms"], ROUND["segments"])
        self.identities = [bytes.fromhex(seeds)[:32] for seeds in ROUND["identities"].values()]
        named = MAKER.named
        self.share_keys = [named(site, "share key") for site in range(4)]
        self.mask_keys = [named(site, "mask key") for site in range(4)]
        self.seeds = [named(site, "self-mask seed") for site in range(4)]
        self.publics = {
            site: (reference.x25519_public(self.share_keys[site]), reference.x25519_public(self.mask_keys[site]))
            for site in range(4)
        }
        self.transcript = reference.transcript_digest(self.publics, range(4))
        self.survivors = [0, 1, 3]

    def check(self, stage: str, kind: int, site: int, body: bytes, rest: bytes = b"") -> None:
        """The message, without the ML-DSA half of its signature, which the reference cannot make."""
        expected = reference.message(kind, self.digest, site, body, self.identities[site])
        assert ROUND["messages"][stage][str(site)] == (expected + rest).hex()

    def shares_of(self, owner: int) -> dict[int, tuple[bytes, bytes]]:
        """(self-mask share, mask-key share) by holder; every site holds one, in the order of the roster."""
        seed, private = (MAKER.fixed_split(secret, 3, 4) for secret in (self.seeds[owner], self.mask_keys[owner]))
        return {holder: (seed[holder], private[holder]) for holder in range(4)}

    def share_body(self, owner: int) -> bytes:
        others = [site for site in range(4) if site != owner]
        body = reference.indices(others)
        for holder in others:
            seed_share, key_share = self.shares_of(owner)[holder]
            plain = struct.pack(">H", holder + 1) + seed_share + key_share + struct.pack(">H", 3)
            plain += reference.indices(others)
            agreed = reference.x25519(self.share_keys[owner], self.publics[holder][0])
            key = reference.derive(agreed, self.digest, b"share encryption" + reference.pair(owner, holder))
            bound = self.digest + struct.pack(">HH", owner, holder)
            nonce = (0 if owner < holder else 1).to_bytes(12, "big")
            sealed = reference.chacha20_poly1305(key, nonce, plain, bound)
            body += struct.pack(">I", len(sealed)) + sealed
        return body

    def masked(self, site: int) -> bytes:
        """The packed masked vector."""
        total = MAKER.fixed_vector(site)
        own = reference.derive(self.seeds[site], self.digest, b"self mask" + struct.pack(">H", site))
        signed_keys = [(own, 1)]
        for peer in set(range(4)) - {site}:
            agreed = reference.x25519(self.mask_keys[site], self.publics[peer][1])
            key = reference.derive(agreed, self.digest, b"pairwise mask" + reference.pair(site, peer))
            signed_keys.append((key, 1 if site < peer else -1))
        for key, sign in signed_keys:
            for words, mask in zip(total, reference.mask_words(key, ROUND["segments"]), strict=True):
                words[:] = [word + sign * masking for word, masking in zip(words, mask, strict=True)]
        return b"".join(
            reference.pack([word % 2**bits for word in words], bits)
            for words, (_, bits) in zip(total, ROUND["segments"], strict=True)
        )

    def opening(self, site: int) -> bytes:
        body = reference.indices(range(4))
        for owner in range(4):
            seed_share, key_share = self.shares_of(owner)[site]
            survived = owner in self.survivors
            body += struct.pack(">BH", 1 if survived else 2, site + 1) + (seed_share if survived else key_share)
        return body


@pytest.fixture(scope="module")
def worked_out() -> ReferenceRound:
    return ReferenceRound()


def test_terms_digest(worked_out: ReferenceRound) -> None:
    assert ROUND["terms_digest"] == worked_out.digest.hex()
    assert MAKER.fixed_terms().digest == worked_out.digest


def test_transcript_digest(worked_out: ReferenceRound) -> None:
    assert ROUND["transcript"] == worked_out.transcript.hex()


@pytest.mark.parametrize("site", range(4))
def test_advertisement(worked_out: ReferenceRound, site: int) -> None:
    worked_out.check("advertise", 1, site, b"".join(worked_out.publics[site]))


@pytest.mark.parametrize("site", range(4))
def test_shares_message(worked_out: ReferenceRound, site: int) -> None:
    worked_out.check("share", 2, site, worked_out.share_body(site))


@pytest.mark.parametrize("site", [0, 1, 3])
def test_masked_message(worked_out: ReferenceRound, site: int) -> None:
    packed = worked_out.masked(site)
    statement = worked_out.transcript + hashlib.sha256(packed).digest()
    worked_out.check("mask", 3, site, statement, packed)


@pytest.mark.parametrize("site", [0, 1, 3])
def test_confirmation(worked_out: ReferenceRound, site: int) -> None:
    worked_out.check("confirm", 4, site, worked_out.transcript + reference.indices(worked_out.survivors))


@pytest.mark.parametrize("site", [0, 1, 3])
def test_opening(worked_out: ReferenceRound, site: int) -> None:
    worked_out.check("open", 5, site, worked_out.opening(site))


def test_requests_are_bundles_of_messages() -> None:
    sent = {
        stage: {site: bytes.fromhex(text) for site, text in each.items()} for stage, each in ROUND["messages"].items()
    }
    sent["mask"] = {site: message[: 40 + 64 + 64] for site, message in sent["mask"].items()}
    for stage, before in (("share", "advertise"), ("confirm", "mask"), ("open", "confirm")):
        expected = struct.pack(">H", len(sent[before]))
        for half_signed in sent[before].values():
            message = half_signed + MAKER.NO_MLDSA
            expected += struct.pack(">I", len(message)) + message
        assert set(ROUND["requests"][stage].values()) == {hashlib.sha256(expected).hexdigest()}


def test_mask_requests_carry_the_sharers_and_the_envelopes() -> None:
    for recipient, request in ROUND["requests"]["mask"].items():
        others = [site for site in range(4) if site != int(recipient)]
        expected = reference.indices(range(4)) + reference.indices(others)
        for sender in others:
            body = bytes.fromhex(ROUND["messages"]["share"][str(sender)])[40:-64]
            place = [site for site in range(4) if site != sender].index(int(recipient))
            sealed = 4 + 2 + 32 + 32 + 2 + 8 + 16  # length, then point, shares, threshold, neighbours, tag
            expected += body[8 + place * sealed : 8 + (place + 1) * sealed]
        assert request == expected.hex()


def test_the_opened_sum() -> None:
    plain = [MAKER.fixed_vector(site) for site in (0, 1, 3)]
    for segment, (_, bits) in enumerate(ROUND["segments"]):
        expected = [sum(words) % 2**bits for words in zip(*(each[segment] for each in plain), strict=True)]
        assert ROUND["sum"][segment] == expected
    assert ROUND["survivors"] == [0, 1, 3]


def test_the_insecure_seed_of_tests_is_a_keystream_too() -> None:
    key = hashlib.sha256(b"a\x1f1").digest()
    assert SeededEntropy("a", 1).bytes(100) == reference.aes_256_ctr(key, 100)
