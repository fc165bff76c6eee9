"""A lying server, and strangers on the way, send a site invitations: it takes none of what they made up.

The server signs what it likes by its own key. A stranger has no key of anybody's and changes what is in the mail.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from joining_bench import Joining
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity
from sealora_common.recipe import load_recipe
from sealora_common.roster import Member, Roster
from sealora_server.deployment.inviting import recipe_text

STRANGER = Identity.create("stranger", SystemEntropy())


def server_of(joining: Joining) -> Identity:
    return Identity.load("server", joining.path / "server/identity.pem")


def coordinator_of(joining: Joining) -> Identity:
    return Identity.load("coordinator", joining.key)


def members_of(joining: Joining) -> dict[str, bytes]:
    roster = Roster.load(joining.roster, draft=True)
    return {name: roster.public_key(index) for index, name in enumerate(roster.names)}


def in_place(joining: Joining) -> set[str]:
    return {"roster.json", "recipe.yaml", "ca.pem"} & {path.name for path in joining.directory("berlin").iterdir()}


def refused(joining: Joining, path: Path, said: str, *options: str) -> None:
    with pytest.raises(PolicyError, match=said):
        joining.join("berlin", *options, mail=path)
    assert in_place(joining) == set()


def test_at_the_first_step_another_coordinator_s_key_does_not_get_past_the_telephone(joining):
    joining.invite("berlin")
    honest = joining.fingerprint
    forged = joining.forge("berlin", coordinator=STRANGER.public_key_text)
    words = ("--data", joining.records("berlin"), "--coordinator-fingerprint", honest)
    with pytest.raises(PolicyError, match="not the one whose fingerprint was typed: do not use this invitation"):
        joining.join("berlin", *words, mail=forged)
    assert not joining.directory("berlin").exists()


def test_at_the_second_step_the_coordinator_is_the_one_that_was_pinned(joining):
    joining.until_signed()
    other = Roster.create("other", members_of(joining), STRANGER, server_of(joining).public_key)
    forged = joining.forge("berlin", coordinator=STRANGER.public_key_text, roster=other)
    refused(joining, forged, "names another coordinator's key .* do not use it, and call the coordinator")


def test_a_roster_that_the_server_changed_is_not_the_coordinator_s(joining):
    joining.until_signed()
    roster = Roster.load(joining.roster)
    swapped = tuple(
        member if member.name != "lyon" else Member(name="lyon", public_key=STRANGER.public_key_text)
        for member in roster.members
    )
    forged = joining.forge("berlin", roster=roster.model_copy(update={"members": swapped}))
    refused(joining, forged, "the coordinator's signature of the roster does not hold")


@pytest.mark.parametrize(
    "change",
    [{"server": "https://localhost:9443"}, {"ca": None}, {"recipe": "changed"}],
    ids=["address", "authority", "recipe"],
)
def test_a_stranger_s_invitation_is_not_the_server_s_though_its_roster_is_the_right_one(joining, change):
    joining.until_signed()
    if "recipe" in change:
        recipe = load_recipe(joining.write_recipe(rounds=2))
        change = {"recipe": recipe_text(recipe), "recipe_hash": recipe.hash}
    options = ("--accept", "recipe") if "recipe" in change else ()
    forged = joining.forge("berlin", signer=STRANGER, **change)
    refused(joining, forged, "not written by the server that the coordinator put on the roster", *options)


def test_the_server_s_own_new_recipe_is_not_taken_unseen_nor_beyond_the_policy(joining):
    joining.until_signed()
    recipe = load_recipe(joining.write_recipe(privacy={"epsilon": 900.0, "delta": 1e-4}))
    forged = joining.forge("berlin", recipe=recipe_text(recipe), recipe_hash=recipe.hash)
    refused(joining, forged, r"\(privacy\.epsilon 4\.0 -> 900\.0\): --accept recipe")
    refused(joining, forged, r"policy\.yaml: refuses the recipe: epsilon_limit is 4", "--accept", "recipe")


def test_a_coordinator_s_second_face_is_seen_once_a_roster_was_used(joining):
    joining.until_signed()
    joining.join("berlin")
    own = Roster.load(joining.directory("berlin") / "roster.json")
    face = own.draft().model_copy(update={"sequence": 1, "previous": own.previous, "consortium": "others"})
    forged = joining.forge("berlin", roster=face.signed(coordinator_of(joining)))
    with pytest.raises(PolicyError, match="two faces: this roster is number 1"):
        joining.join("berlin", mail=forged)
    assert Roster.load(joining.directory("berlin") / "roster.json") == own


def test_a_roster_whose_term_is_over_is_not_put_in_place(joining):
    joining.until_signed()
    old = Roster.load(joining.roster).draft().signed(
        coordinator_of(joining), at=datetime.now(UTC) - timedelta(days=800)
    )  # fmt: skip
    refused(joining, joining.forge("berlin", roster=old), "the roster expired .*: have the coordinator sign it anew")


def test_another_node_key_on_the_roster_is_seen(joining):
    joining.until_signed()
    shutil.copy(joining.directory("lyon") / "node.key", joining.directory("berlin") / "node.key")
    refused(joining, joining.invitation("berlin"), "the roster has another node key for berlin than .*node.key: send")


def test_another_consortium_s_invitation_for_a_site_of_the_same_name_is_refused(joining, tmp_path):
    joining.until_signed()
    other = Joining(tmp_path / "other")
    other.until_signed()
    refused(joining, other.invitation("berlin"), "names another coordinator's key")


def test_the_files_of_the_recipe_and_the_authority_are_what_was_signed_and_lie_nowhere_else(joining):
    joining.until_signed()
    before = {path for path in joining.path.rglob("*") if joining.directory("berlin") not in path.parents}
    joining.join("berlin")
    assert {path for path in joining.path.rglob("*") if joining.directory("berlin") not in path.parents} == before
