from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.entropy import SeededEntropy
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity
from sealora_common.roster import Roster

COORDINATOR = Identity.create("coordinator", SeededEntropy("coordinator"))
KEYS = {name: Identity.create(name, SeededEntropy(name)).public_key for name in ("b-clinic", "a-hospital", "c")}
SERVER = Identity.create("server", SeededEntropy("server")).public_key


def roster(sites=KEYS, consortium="test", coordinator=COORDINATOR, server=SERVER) -> Roster:
    return Roster.create(consortium, sites, coordinator, server)


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
    path.write_text(roster().model_dump_json())
    assert Roster.load(path) == roster()
    assert Roster.load(path).hash == roster().hash
    assert Roster.load(path, coordinator=COORDINATOR.public_key.hex()).is_signed


def test_the_hash_covers_everything_but_the_signature():
    other = Identity.create("x", SeededEntropy("x"))
    hashes = {
        roster().hash,
        roster(consortium="other").hash,
        roster({name: KEYS[name] for name in ("c", "b-clinic")}).hash,
        roster(KEYS | {"c": other.public_key}).hash,
        roster(coordinator=other).hash,
        roster(server=other.public_key).hash,
    }
    assert len(hashes) == 6
    assert roster().model_copy(update={"signature": "0" * 128}).hash == roster().hash


TAMPERING = {
    "a key": lambda value: value["members"][0].update(public_key="0" * 64),
    "a name": lambda value: value["members"][0].update(name="a-hospitaz"),
    "a member left out": lambda value: value["members"].pop(),
    "the consortium": lambda value: value.update(consortium="other"),
    "the coordinator": lambda value: value.update(coordinator="1" * 64),
    "the server": lambda value: value.update(server="1" * 64),
    "the signature": lambda value: value.update(signature="0" * 128),
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
        Roster.load(path, coordinator=COORDINATOR.public_key.hex())


MALFORMED = {
    "a member twice": lambda value: value["members"].append(value["members"][-1]),
    "two members in the wrong order": lambda value: value["members"].reverse(),
    "one key for two": lambda value: value["members"][0].update(public_key=value["members"][1]["public_key"]),
    "a name with a slash": lambda value: value["members"][0].update(name="a/b"),
    "a name with capitals": lambda value: value["members"][0].update(name="A"),
    "a short key": lambda value: value["members"][0].update(public_key="00"),
    "a key that is not hex": lambda value: value["members"][0].update(public_key="z" * 64),
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
