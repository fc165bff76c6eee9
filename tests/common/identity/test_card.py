from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.entropy import SeededEntropy
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity, signature_from_text, signature_to_text, verify
from sealora_common.identity.card import SiteCard, check_name, create_node_key
from sealora_common.identity.hybrid import SigningKey

VECTORS = Path(__file__).parents[1] / "vectors"
BERLIN, STRANGER = (Identity.create(name, SeededEntropy(name)) for name in ("berlin", "stranger"))


def with_point_of(form: int) -> str:
    """The node key, whose point (97 bytes at the end: a form, x and y) claims another form."""
    kind, encoded = NODE_KEY.split()
    content = bytearray(base64.b64decode(encoded))
    content[-97] = form
    return f"{kind} {base64.b64encode(content).decode()}"


def ssh(private) -> str:
    return private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


NODE_KEY, OTHER_NODE_KEY = (ssh(ec.derive_private_key(scalar, ec.SECP384R1())) for scalar in (7, 8))
CARD = SiteCard.create(BERLIN, NODE_KEY)


def written(path: Path, **changes) -> Path:
    """The file of the card with fields changed by somebody."""
    path.write_text(json.dumps({**CARD.model_dump(mode="json"), **changes}))
    return path


def test_a_card_is_read_as_the_site_signed_it(tmp_path):
    assert SiteCard.load(written(tmp_path / "card.json")) == CARD
    assert (CARD.name, CARD.public_key, CARD.node_key) == ("berlin", BERLIN.public_key_text, NODE_KEY)


FORGERIES = {
    "name": "lyon",
    "public_key": STRANGER.public_key_text,
    "node_key": OTHER_NODE_KEY,
    "signature": "",
}


def test_every_field_is_forged_below():
    assert set(FORGERIES) == set(SiteCard.model_fields) - {"version"}


@pytest.mark.parametrize("field", FORGERIES)
def test_a_card_with_a_field_changed_is_refused(tmp_path, field):
    with pytest.raises(PolicyError, match="the card is not signed by its own key: ask the site for it again"):
        SiteCard.load(written(tmp_path / "card.json", **{field: FORGERIES[field]}))


def test_a_card_that_somebody_else_signed_is_refused(tmp_path):
    forged = SiteCard.create(STRANGER, NODE_KEY).signature
    with pytest.raises(PolicyError, match="not signed by its own key"):
        SiteCard.load(written(tmp_path / "card.json", signature=forged))


def test_a_roster_s_signature_is_no_card_s(tmp_path):
    """What a card and a roster sign begins differently: a signature cannot be carried over."""
    signature = signature_to_text(BERLIN.sign(CARD._signed_bytes()))
    with pytest.raises(PolicyError, match="not signed by its own key"):
        SiteCard.load(written(tmp_path / "card.json", signature=signature))


MALFORMED = {
    "a name with capitals": {"name": "Berlin"},
    "a name that is a path": {"name": "../berlin"},
    "an empty name": {"name": ""},
    "a name of 64 letters": {"name": "a" * 64},
    "a name with a line end": {"name": "berlin\n"},
    "a short key": {"public_key": "00"},
    "a key in hex": {"public_key": BERLIN.public_key.hex()},
    "a key with a line end": {"public_key": CARD.public_key + "\n"},
    "a key whose Ed25519 part is of small order": {
        "public_key": base64.b64encode(b"\x01" + bytes(31) + BERLIN.public_key[32:]).decode()
    },
    "a node key with a comment": {"node_key": NODE_KEY + " root@berlin"},
    "a node key with a line end": {"node_key": NODE_KEY + "\n"},
    "a version that is none": {"version": "two"},
    "a field too many": {"private_key": "00"},
    "no node key": {"node_key": ""},
    "a node key of another curve": {"node_key": ssh(ec.derive_private_key(7, ec.SECP256R1()))},
    "a node key of another kind": {"node_key": ssh(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))},
    "a node key whose point is compressed": {"node_key": with_point_of(2)},
    "half a node key": {"node_key": NODE_KEY[:60]},
    "a node key that is a certificate of nothing": {"node_key": "ecdsa-sha2-nistp384-cert-v01@openssh.com AAAA"},
    "a signature of another length": {"signature": "ab"},
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_card_is_refused_with_its_path(tmp_path, case):
    path = written(tmp_path / "card.json", **MALFORMED[case])
    with pytest.raises(PolicyError, match="not a site card") as caught:
        SiteCard.load(path)
    assert str(path) in str(caught.value)
    assert next(iter(MALFORMED[case])) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda key: json.dumps({"node_key": key}).encode()))
def test_no_bytes_make_the_reader_raise_anything_else(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.card.json"
    path.write_bytes(content)
    with pytest.raises(PolicyError):
        SiteCard.load(path)


@given(st.text(max_size=70))
def test_no_text_as_a_node_key_makes_the_reader_raise_anything_else(text):
    values = {**CARD.model_dump(mode="json"), "node_key": "ecdsa-sha2-nistp384 " + text}
    with pytest.raises(ValueError, match="node_key"):
        SiteCard.model_validate_json(json.dumps(values))


def test_a_missing_card_is_to_be_had_from_the_site(tmp_path):
    with pytest.raises(PolicyError, match=r"cannot be read .*: ask the site for it"):
        SiteCard.load(tmp_path / "card.json")


@given(st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True))
def test_a_name_that_is_one_passes(name):
    check_name(name)
    assert SiteCard.create(Identity(name, BERLIN._private), NODE_KEY).name == name


@pytest.mark.parametrize("name", ["", "-a", "Berlin", "a b", "a/b", "a\n", "ä", "a" * 64, "../a"])
def test_a_name_that_no_card_can_bear_is_refused(name):
    with pytest.raises(PolicyError, match="is no name for a site"):
        check_name(name)


@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_the_node_key_is_a_p_384_key_in_openssh_form_that_its_owner_alone_reads(tmp_path, passphrase):
    public = create_node_key(tmp_path / "node.key", passphrase)
    assert stat.S_IMODE((tmp_path / "node.key").stat().st_mode) == 0o600
    private = load_ssh_private_key((tmp_path / "node.key").read_bytes(), passphrase)  # as Flower's SuperNode does
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(private.curve, ec.SECP384R1)
    assert ssh(private) == public
    assert SiteCard.create(BERLIN, public).node_key == public


@pytest.mark.parametrize("wrong", [None, b"another"])
def test_a_locked_node_key_opens_with_its_passphrase_alone(tmp_path, wrong):
    create_node_key(tmp_path / "node.key", b"correct horse")
    with pytest.raises((ValueError, TypeError)):
        load_ssh_private_key((tmp_path / "node.key").read_bytes(), wrong)


def known(name: str) -> tuple[dict, Identity]:
    vector = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    identity = Identity("known", SigningKey.from_seeds(*map(bytes.fromhex, vector["seeds"])))
    assert identity.public_key_text == vector["public_key"]
    assert (identity.pin, identity.fingerprint) == (vector["pin"], vector["fingerprint"])
    signature = signature_from_text(vector["signature"])
    assert identity.sign(vector["signed"].encode())[:64] == signature[:64]
    assert verify(identity.public_key, signature, vector["signed"].encode())
    return vector, identity


def test_the_known_card(tmp_path):
    vector, berlin = known("site_card")
    card = SiteCard.create(Identity("berlin", berlin._private), vector["value"]["node_key"])
    assert json.loads(card.model_dump_json(exclude={"signature"})) == vector["value"]
    assert card._signed_bytes().decode() == vector["canonical"]
    kept = SiteCard(**vector["value"], signature=vector["signature"])
    (tmp_path / "card.json").write_text(kept.model_dump_json())
    assert SiteCard.load(tmp_path / "card.json") == kept
    assert kept.fingerprint == vector["fingerprint"]


def test_a_card_of_before_is_refused_with_what_to_do(tmp_path):
    """As the version before wrote it: an Ed25519 key alone, in hex."""
    path = written(tmp_path / "card.json", version=1, public_key="ab" * 32, signature="ab" * 64)
    with pytest.raises(PolicyError, match=r"a site card of version 1, from an earlier .*: have the site enrol anew"):
        SiteCard.load(path)


def test_a_card_of_a_later_version_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(PolicyError, match=r"a site card of version 3, from a later .*: install that one here"):
        SiteCard.load(written(tmp_path / "card.json", version=3))


@pytest.mark.parametrize("half", [0, 1])
def test_a_card_with_one_half_of_its_signature_another_s_is_refused(tmp_path, half):
    own, other = (signature_from_text(SiteCard.create(each, NODE_KEY).signature) for each in (BERLIN, STRANGER))
    forged = (other[:64] + own[64:], own[:64] + other[64:])[half]
    with pytest.raises(PolicyError, match="the card is not signed by its own key"):
        SiteCard.load(written(tmp_path / "card.json", signature=signature_to_text(forged)))
