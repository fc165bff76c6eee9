from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.config import LINE
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity, key_to_text, signature_from_text, signature_to_text
from sealora_common.identity.hybrid import SigningKey
from sealora_common.roster import GENESIS, Cosignature, Member, Roster, check_consortium

VECTORS = Path(__file__).parents[1] / "vectors"

COORDINATOR = Identity.create("coordinator", SeededEntropy("coordinator"))
IDENTITIES = {name: Identity.create(name, SeededEntropy(name)) for name in ("b-clinic", "a-hospital", "c")}
KEYS = {name: identity.public_key for name, identity in IDENTITIES.items()}
SERVER = Identity.create("server", SeededEntropy("server")).public_key
STRANGER = Identity.create("x", SeededEntropy("x"))
NO_SIGNATURE = signature_to_text(bytes(3373))


SIGNED_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def roster(sites=KEYS, consortium="test", coordinator=COORDINATOR, server=SERVER, **more) -> Roster:
    return Roster.create(consortium, sites, coordinator, server, **{"at": SIGNED_AT, **more})


def changed(tmp_path, change):
    """A roster's file after somebody changed it."""
    value = json.loads(roster().model_dump_json())
    change(value)
    path = tmp_path / "roster.json"
    path.write_text(json.dumps(value))
    return path


def test_members_stand_in_the_order_of_their_names():
    assert roster().names == ("a-hospital", "b-clinic", "c")
    assert roster().index("b-clinic") == 1
    assert roster().public_key(1) == KEYS["b-clinic"]
    assert len(roster()) == 3


def test_a_roster_is_read_as_it_was_signed(tmp_path):
    path = tmp_path / "roster.json"
    written = roster()
    path.write_text(written.model_dump_json())
    assert Roster.load(path) == written
    assert Roster.load(path).hash == roster().hash
    assert Roster.load(path, coordinator=COORDINATOR.pin).is_signed


def test_the_hash_covers_everything_but_the_signatures():
    other = Identity.create("x", SeededEntropy("x"))
    hashes = {
        roster().hash,
        roster(consortium="other").hash,
        roster({name: KEYS[name] for name in ("c", "b-clinic")}).hash,
        roster(KEYS | {"c": other.public_key}).hash,
        roster(coordinator=other).hash,
        roster(server=other.public_key).hash,
        roster(term=timedelta(days=1)).hash,
        roster().model_copy(update={"sequence": 2}).hash,
        roster().model_copy(update={"previous": "1" * 64}).hash,
    }
    assert len(hashes) == 9
    assert roster().model_copy(update={"signature": NO_SIGNATURE}).hash == roster().hash
    cosigned = Cosignature.create(IDENTITIES["c"], 1, roster().hash)
    assert roster().with_cosignatures([cosigned]).hash == roster().hash


def mixed(first: Identity, second: Identity, value: dict) -> str:
    """A signature of which one half is the coordinator's."""
    signed = b"sealora roster v2\n" + Roster(**value)._signed_bytes()
    return signature_to_text(first.sign(signed)[:64] + second.sign(signed)[64:])


TAMPERING = {
    "a key": lambda value: value["members"][0].update(public_key=STRANGER.public_key_text),
    "a name": lambda value: value["members"][0].update(name="a-hospitaz"),
    "a member left out": lambda value: value["members"].pop(),
    "the consortium": lambda value: value.update(consortium="other"),
    "the coordinator": lambda value: value.update(coordinator=STRANGER.public_key_text),
    "the server": lambda value: value.update(server=STRANGER.public_key_text),
    "the number": lambda value: value.update(sequence=2, previous="1" * 64),
    "the one before": lambda value: value.update(sequence=3, previous="2" * 64),
    "the term": lambda value: value.update(expires="2099-01-31T12:00:00Z"),
    "no term": lambda value: value.pop("expires"),
    "the signature": lambda value: value.update(signature=NO_SIGNATURE),
    "the signature's Ed25519 half": lambda value: value.update(signature=mixed(STRANGER, COORDINATOR, value)),
    "the signature's ML-DSA half": lambda value: value.update(signature=mixed(COORDINATOR, STRANGER, value)),
    "no signature": lambda value: value.update(signature=""),
}


@pytest.mark.parametrize("case", TAMPERING)
def test_a_roster_that_somebody_changed_is_refused(tmp_path, case):
    with pytest.raises(PolicyError, match="the coordinator's signature does not hold: do not use this roster"):
        Roster.load(changed(tmp_path, TAMPERING[case]))


def test_a_roster_signed_by_somebody_else_is_refused_where_the_coordinator_is_pinned(tmp_path):
    path = tmp_path / "roster.json"
    path.write_text(roster(coordinator=Identity.create("x", SeededEntropy("x"))).model_dump_json())
    with pytest.raises(PolicyError, match="another coordinator"):
        Roster.load(path, coordinator=COORDINATOR.pin)


NODE_KEY = (
    ec.derive_private_key(7, ec.SECP384R1()).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
)
COSIGNATURE = Cosignature.create(IDENTITIES["c"], 1, roster().hash).model_dump(mode="json")


def half_of_another(key: bytes, other: bytes, half: int) -> bytes:
    return other[:32] + key[32:] if half == 0 else key[:32] + other[32:]


def give_half(value: dict, half: int) -> None:
    """Gives the first member a half of the second member's key."""
    key = half_of_another(KEYS["a-hospital"], KEYS["b-clinic"], half)
    value["members"][0]["public_key"] = base64.b64encode(key).decode()


MALFORMED = {
    "a member twice": lambda value: value["members"].append(value["members"][-1]),
    "two members in the wrong order": lambda value: value["members"].reverse(),
    "one key for two": lambda value: value["members"][0].update(public_key=value["members"][1]["public_key"]),
    "a name with a slash": lambda value: value["members"][0].update(name="a/b"),
    "a name with capitals": lambda value: value["members"][0].update(name="A"),
    "one Ed25519 key under two ML-DSA keys": lambda value: give_half(value, 0),
    "one ML-DSA key under two Ed25519 keys": lambda value: give_half(value, 1),
    "one node key for two": lambda value: [each.update(node_key=NODE_KEY) for each in value["members"][:2]],
    "a node key with a comment": lambda value: value["members"][0].update(node_key=NODE_KEY + " root@a"),
    "a node key that is none": lambda value: value["members"][0].update(node_key="ecdsa-sha2-nistp384 AAAA"),
    "a short key": lambda value: value["members"][0].update(public_key="00"),
    "a key in hex": lambda value: value["members"][0].update(public_key=KEYS["a-hospital"].hex()),
    "a key of before": lambda value: value["members"][0].update(public_key="0" * 64),
    "a key with a line end": lambda value: value["members"][0].update(
        public_key=value["members"][0]["public_key"] + "\n"
    ),
    "a key whose Ed25519 part is of small order": lambda value: value["members"][0].update(
        public_key=base64.b64encode(b"\x01" + bytes(31) + KEYS["a-hospital"][32:]).decode()
    ),
    "the number 0": lambda value: value.update(sequence=0),
    "the number 0 after another": lambda value: value.update(sequence=0, previous="1" * 64),
    "the number 2^32": lambda value: value.update(sequence=2**32, previous="1" * 64),
    "one that follows what is no hash": lambda value: value.update(sequence=2, previous="1" * 63),
    "the first that follows another": lambda value: value.update(previous="1" * 64),
    "the second that follows none": lambda value: value.update(sequence=2),
    "a term with another zone": lambda value: value.update(expires="2027-01-31T12:00:00+01:00"),
    "a term that is no date": lambda value: value.update(expires="2027-02-31T12:00:00Z"),
    "a term in another form": lambda value: value.update(expires="2027-1-31T12:00:00Z"),
    "a co-signature twice": lambda value: value.update(cosignatures=[COSIGNATURE, COSIGNATURE]),
    "a field too many": lambda value: value.update(threshold=1),
    "a member's field too many": lambda value: value["members"][0].update(records=5),
    "a signature that is none": lambda value: value.update(signature="abc"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_roster_is_refused_with_its_path(tmp_path, case):
    path = changed(tmp_path, MALFORMED[case])
    with pytest.raises(PolicyError, match="not a roster") as caught:
        Roster.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(members=value["members"] * 334),
        lambda value: value.update(cosignatures=[COSIGNATURE] * 1001),
    ],
)
def test_a_roster_has_no_more_members_than_a_receipt_can_name(tmp_path, change):
    with pytest.raises(PolicyError, match=r"not a roster .*should have at most 1000 items"):
        Roster.load(changed(tmp_path, change))


def test_a_missing_roster_is_to_be_had_from_the_coordinator(tmp_path):
    with pytest.raises(PolicyError, match=r"cannot be read .*: ask the coordinator for it"):
        Roster.load(tmp_path / "roster.json")


def test_a_stranger_is_not_on_it():
    with pytest.raises(PolicyError, match="site 'stranger' is not on the roster: ask the coordinator to add it"):
        roster().index("stranger")


def test_a_subset_is_a_roster_of_its_own_with_the_same_keys():
    whole = roster()
    part = whole.subset(["c", "a-hospital"])
    assert part.names == ("a-hospital", "c")
    assert [part.public_key(index) for index in range(2)] == [KEYS["a-hospital"], KEYS["c"]]
    assert part.hash != whole.hash
    assert not part.is_signed  # no file of it would be taken for a roster
    with pytest.raises(PolicyError, match="'d' is not on the roster"):
        whole.subset(["c", "d"])


@given(st.permutations(sorted(KEYS)))
def test_the_order_in_which_sites_are_listed_does_not_matter(names):
    assert roster({name: KEYS[name] for name in names}).hash == roster().hash


@pytest.mark.parametrize("half", [0, 1, None])
def test_a_member_with_a_part_of_another_s_key_is_not_added(half):
    key = KEYS["c"] if half is None else half_of_another(STRANGER.public_key, KEYS["c"], half)
    with pytest.raises(PolicyError, match="the key of 'new', or a part of it, is another member's already \\('c'\\)"):
        roster().with_member(Member(name="new", public_key=key_to_text(key)))


def test_a_roster_of_before_is_refused_with_what_to_do(tmp_path):
    """As the version before wrote it: no version, Ed25519 keys in hex."""
    path = tmp_path / "roster.json"
    path.write_text(json.dumps({"consortium": "c", "coordinator": "ab" * 32, "members": [], "signature": "ab" * 64}))
    with pytest.raises(PolicyError, match=r"a roster of version 1, from an earlier .*: have the coordinator create"):
        Roster.load(path, draft=True)


def test_a_roster_of_a_later_version_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(PolicyError, match=r"a roster of version 3, from a later .*: install that one here"):
        Roster.load(changed(tmp_path, lambda value: value.update(version=3)))


def test_a_signed_roster_lasts_a_year_unless_its_coordinator_says_otherwise():
    assert roster().expires == "2027-01-31T12:00:00Z"
    assert roster(term=timedelta(days=30)).expires == "2026-03-02T12:00:00Z"
    local = SIGNED_AT.astimezone(timezone(timedelta(hours=9)))
    assert roster(at=local).expires == "2027-01-31T12:00:00Z"


@pytest.mark.parametrize(("seconds", "expired"), [(-1, False), (0, True), (1, True)])
def test_a_roster_cannot_be_used_from_the_end_of_its_term_on(seconds, expired):
    at = SIGNED_AT + timedelta(days=365, seconds=seconds)
    assert roster().has_expired(at) is expired
    if expired:
        with pytest.raises(PolicyError, match="here: the roster expired 2027-01-31T12:00:00Z: have the coordinator"):
            roster().require_current(at, "here: ")
    else:
        roster().require_current(at)


def test_a_signature_over_a_roster_without_a_term_is_none():
    """Or one signed by an older or a careless coordinator would hold for ever."""
    endless = roster().model_copy(update={"expires": None})
    signature = COORDINATOR.sign(b"sealora roster v2\n" + endless._signed_bytes())
    assert not endless.model_copy(update={"signature": signature_to_text(signature)}).is_signed


def test_another_coordinator_s_key_signs_nothing_here():
    with pytest.raises(PolicyError, match="this key is not the roster's coordinator's"):
        roster().draft().signed(STRANGER)


def test_a_site_that_is_not_there_cannot_be_removed():
    with pytest.raises(PolicyError, match="site 'd' is not on the roster"):
        roster().without_member("d")


def test_a_member_s_new_key_takes_the_place_of_its_old_one():
    again = roster().with_member(Member(name="c", public_key=STRANGER.public_key_text))
    assert again.names == roster().names
    assert again.public_key(again.index("c")) == STRANGER.public_key


def test_a_roster_without_a_server_has_no_key_of_one():
    with pytest.raises(PolicyError, match="the roster names no server key"):
        _ = roster(server=None).server_key


def test_a_draft_has_no_term():
    assert roster().draft().has_expired(SIGNED_AT)


def test_the_first_roster_follows_none_and_each_change_the_one_before():
    first = roster()
    assert (first.sequence, first.previous) == (1, GENESIS)
    draft = first.without_member("c").with_member(Member(name="d", public_key=STRANGER.public_key_text))
    assert (draft.sequence, draft.previous, draft.expires) == (2, first.hash.hex(), None)
    second = draft.signed(COORDINATOR)
    assert second.is_signed
    third = second.draft().signed(COORDINATOR)
    assert (third.sequence, third.previous) == (3, second.hash.hex())


def test_a_change_takes_the_co_signatures_of_the_roster_before_away():
    cosigned = roster().with_cosignatures([Cosignature.create(IDENTITIES["c"], 1, roster().hash)])
    assert cosigned.cosigners == ("c",)
    assert cosigned.draft().cosignatures == ()


def test_a_roster_changed_by_hand_has_no_successor():
    by_hand = roster().model_copy(update={"consortium": "other"})
    for change in (by_hand.draft, lambda: by_hand.without_member("c")):
        with pytest.raises(PolicyError, match="changed after it was signed, so nothing can follow it: put the signed"):
            change()


def test_the_known_roster(tmp_path):
    vector = json.loads((VECTORS / "roster.json").read_text(encoding="utf-8"))
    coordinator = Identity("coordinator", SigningKey.from_seeds(*map(bytes.fromhex, vector["seeds"])))
    kept = Roster(**vector["value"], signature=vector["signature"], cosignatures=vector["cosignatures"])
    assert kept._signed_bytes().decode() == vector["canonical"]
    assert kept.hash.hex() == vector["sha256"]
    assert kept.fingerprint == vector["roster_fingerprint"]
    assert kept.coordinator_pin == coordinator.pin == vector["pin"]
    assert kept.cosigners == ("berlin", "porto")
    again = kept.signed(coordinator, at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert again.hash == kept.hash
    halves = [signature_from_text(each.signature)[:64] for each in (again, kept)]
    assert halves[0] == halves[1]
    kept.save(tmp_path / "roster.json")
    assert Roster.load(tmp_path / "roster.json", coordinator=vector["pin"]) == kept


@pytest.mark.parametrize("name", ["a" * 201, "a\x1b[2J", "two\nlines", "\u202ereversed", "\u200b"])
def test_a_consortium_s_name_is_one_line_that_can_be_shown(tmp_path, name):
    content = json.loads(roster().model_dump_json(exclude_none=True)) | {"consortium": name}
    (tmp_path / "roster.json").write_text(json.dumps(content))
    with pytest.raises(PolicyError, match="not a roster \\(consortium: "):
        Roster.load(tmp_path / "roster.json", draft=True)
    with pytest.raises(PolicyError, match="is no name for a consortium"):
        check_consortium(name)


def test_a_huge_roster_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "roster.json").open("wb") as file:
        file.truncate(2**36)
    with pytest.raises(PolicyError, match=r"cannot be read \(larger than 16 MiB"):
        Roster.load(tmp_path / "roster.json")


def test_the_largest_roster_is_read(tmp_path):
    """1000 sites, all of which co-signed: the bound leaves room."""
    member, cosigner = roster().members[0], Cosignature.create(IDENTITIES["c"], 1, roster().hash)
    sizes = len(member.model_dump_json()) + len(member.public_key) + len(cosigner.model_dump_json()) + 200
    assert 1000 * sizes < LINE.longest
