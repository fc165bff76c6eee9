from __future__ import annotations

import json

import pytest

from sealora_common.entropy import SeededEntropy
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity, signature_from_text, signature_to_text
from sealora_common.roster import Cosignature, Roster

COORDINATOR, STRANGER = (Identity.create(name, SeededEntropy(name)) for name in ("coordinator", "stranger"))
SITES = {name: Identity.create(name, SeededEntropy(name)) for name in ("a", "b", "c")}
ROSTER = Roster.create("test", {name: site.public_key for name, site in SITES.items()}, COORDINATOR)


def cosignature(name: str, roster: Roster = ROSTER) -> Cosignature:
    return Cosignature.create(SITES[name], roster.sequence, roster.hash)


def test_members_co_sign_in_any_order_and_one_by_one():
    cosigned = ROSTER.with_cosignatures([cosignature("c"), cosignature("a")])
    assert cosigned.cosigners == ("a", "c")
    assert cosigned.with_cosignatures([cosignature("b"), cosignature("a")]).cosigners == ("a", "b", "c")
    assert cosigned.is_signed


def test_a_co_signature_is_read_as_it_was_written(tmp_path):
    made = cosignature("a")
    made.save(tmp_path / "a.json")
    assert Cosignature.load(tmp_path / "a.json") == made


def test_it_stays_in_the_roster_s_file(tmp_path):
    cosigned = ROSTER.with_cosignatures([cosignature("a")])
    cosigned.save(tmp_path / "roster.json")
    assert Roster.load(tmp_path / "roster.json") == cosigned


def forged(half: int) -> Cosignature:
    own, other = (
        signature_from_text(Cosignature.create(Identity("a", each._private), ROSTER.sequence, ROSTER.hash).signature)
        for each in (SITES["a"], STRANGER)
    )
    signature = (other[:64] + own[64:], own[:64] + other[64:])[half]
    return cosignature("a").model_copy(update={"signature": signature_to_text(signature)})


OTHER = ROSTER.without_member("c").signed(COORDINATOR)
REFUSED = {
    "by nobody on the roster": (
        Cosignature.create(STRANGER, ROSTER.sequence, ROSTER.hash),
        "'stranger' is not on the roster",
    ),
    "by another under a member's name": (
        Cosignature.create(Identity("a", STRANGER._private), ROSTER.sequence, ROSTER.hash),
        "of 'a' does not hold",
    ),
    "with one half another's": (forged(0), "of 'a' does not hold"),
    "with the other half another's": (forged(1), "of 'a' does not hold"),
    "not signed": (cosignature("a").model_copy(update={"signature": ""}), "of 'a' does not hold"),
    "of another roster": (cosignature("a", OTHER), r"of 'a' is of another roster \(number 2, "),
    "of another under the same number": (
        Cosignature.create(SITES["a"], 1, OTHER.hash),
        r"is of another roster .*: send it this one, number 1, and",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_co_signature_of_this_roster_is_not_merged(case):
    made, said = REFUSED[case]
    with pytest.raises(PolicyError, match=said):
        ROSTER.with_cosignatures([made])


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_co_signature_of_this_roster_does_not_count(case):
    """As somebody who writes into the file, which no signature covers there, would have it."""
    made, _ = REFUSED[case]
    assert ROSTER.model_copy(update={"cosignatures": (made,)}).cosigners == ()


@pytest.mark.parametrize(
    "change",
    [
        {"member": "A"},
        {"sequence": 0},
        {"sequence": 2**32},
        {"roster_hash": "00"},
        {"signature": "00"},
        {"x": 1},
        {"version": 2},
    ],
)
def test_a_malformed_file_is_named_in_one_sentence(tmp_path, change):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**cosignature("a").model_dump(mode="json"), **change}))
    with pytest.raises(PolicyError, match="not a co-signature") as caught:
        Cosignature.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_to_be_had_from_the_site(tmp_path):
    with pytest.raises(PolicyError, match=r"cannot be read .*: ask the site for it"):
        Cosignature.load(tmp_path / "a.json")
