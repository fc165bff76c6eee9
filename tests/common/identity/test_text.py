from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.entropy import SeededEntropy
from sealora_common.identity import (
    Identity,
    key_fingerprint,
    key_from_text,
    key_pin,
    key_to_text,
    short_form,
    signature_from_text,
    signature_to_text,
)

KNOWN = json.loads((Path(__file__).parent / "vectors" / "identity.json").read_text(encoding="utf-8"))
KEY = key_from_text(KNOWN["public_key"])
SIGNATURE = signature_from_text(KNOWN["signature"])


def test_keys_and_signatures_come_back_from_their_text():
    assert key_to_text(KEY) == KNOWN["public_key"]
    assert signature_to_text(SIGNATURE) == KNOWN["signature"]
    assert signature_from_text("") == b""


def test_the_pin_is_the_hash_of_the_whole_key_and_the_fingerprint_its_first_hundred_bits():
    assert key_pin(KEY) == KNOWN["pin"] == hashlib.sha256(b"sealora public key v1\n" + KEY).hexdigest()
    letters = base64.b32encode(bytes.fromhex(KNOWN["pin"])).decode()
    assert key_fingerprint(KEY) == KNOWN["fingerprint"] == "-".join(letters[at : at + 5] for at in (0, 5, 10, 15))
    assert short_form(bytes.fromhex(KNOWN["pin"])) == KNOWN["fingerprint"]


@pytest.mark.parametrize("position", [0, 31, 32, 1983])
def test_every_part_of_a_key_enters_its_pin_and_fingerprint(position):
    other = bytearray(KEY)
    other[position] ^= 1
    assert key_pin(bytes(other)) != key_pin(KEY)
    assert key_fingerprint(bytes(other)) != key_fingerprint(KEY)


def test_an_identity_says_the_same_of_itself():
    identity = Identity.create("a", SeededEntropy("a"))
    assert identity.pin == key_pin(identity.public_key)
    assert identity.fingerprint == key_fingerprint(identity.public_key)
    assert key_from_text(identity.public_key_text) == identity.public_key


NOT_CANONICAL = {
    "a line end": KNOWN["public_key"] + "\n",
    "a space": " " + KNOWN["public_key"],
    "no padding": KNOWN["public_key"].rstrip("="),
    "more padding": KNOWN["public_key"] + "==",
    "bits beyond the last byte": KNOWN["public_key"][:-3] + chr(ord(KNOWN["public_key"][-3]) + 1) + "==",
    "the letters of URLs": base64.urlsafe_b64encode(KEY).decode(),
    "hex": KEY.hex(),
    "a key of before, in hex": "ab" * 32,
    "half a key": base64.b64encode(KEY[:32]).decode(),
    "a letter of none": "ä" + KNOWN["public_key"][1:],
    "a key whose Ed25519 part is of small order": base64.b64encode(b"\x01" + bytes(31) + KEY[32:]).decode(),
    "a key whose Ed25519 part is not reduced": base64.b64encode(
        (2**255 - 19 + 3).to_bytes(32, "little") + KEY[32:]
    ).decode(),
    "nothing": "",
}


@pytest.mark.parametrize("case", NOT_CANONICAL)
def test_a_key_in_another_form_than_its_one_is_refused(case):
    with pytest.raises(ValueError, match=r"base64|public key"):
        key_from_text(NOT_CANONICAL[case])


@pytest.mark.parametrize("text", [KNOWN["signature"][:-4], KNOWN["signature"] + "AAAA", "00" * 64, "AA==", "\n"])
def test_a_signature_in_another_form_is_refused(text):
    with pytest.raises(ValueError, match=r"base64|signature"):
        signature_from_text(text)


@given(st.text(max_size=100))
def test_no_text_makes_the_readers_raise_anything_else(text):
    for read in (key_from_text, signature_from_text):
        try:
            read(text)
        except ValueError:
            continue
        assert (read, text) == (signature_from_text, "")
