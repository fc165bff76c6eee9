"""Where nodes authenticate, a site is greeted by its key: nobody takes another's place, and who comes back is asked."""

from __future__ import annotations

import pytest

from sealora_common.errors import FederationError
from sealora_common.identity.card import create_node_key
from sealora_common.records.events import TurnedAway
from sealora_common.roster import Roster
from sealora_server.node_keys import KeyedGrid, NodeSession, node_key_pem, sites_by_node_key
from sealora_server.run.enrolment import Enrolment

from pure_sites import PureGrid, pure_federation, pure_recipe, refusal

RECIPE = pure_recipe()
STRANGER = 99
BUDGET = "the site's privacy budget does not allow this whole run"


class AuthenticatedGrid(PureGrid):
    """A grid whose nodes have authenticated with the keys that a test gives them."""

    def node_sessions(self):
        return self.sessions


@pytest.fixture
def keys(tmp_path):
    return {f"site-{index}": create_node_key(tmp_path / f"{index}.key") for index in range(4)}


@pytest.fixture
def enrolment(keys):
    roster, sites = pure_federation(RECIPE, 3)
    members = tuple(member.model_copy(update={"node_key": keys[member.name]}) for member in roster.members)
    roster = roster.model_copy(update={"members": members})
    for site in sites.values():
        site.roster = roster
    grid = AuthenticatedGrid(sites)
    grid.sessions = {node: NodeSession(node_key_pem(keys[site.name]), "first") for node, site in sites.items()}
    return Enrolment(grid, RECIPE, roster, "ab" * 16)


def greeted(enrolment) -> list[str]:
    return [site for site, action in enrolment.grid.delivered if action == "query.hello"]


def test_the_nodes_of_the_roster_are_the_sites(enrolment):
    enrolment.wait()
    assert enrolment.sites == {11: "site-0", 12: "site-1", 13: "site-2"}


def test_a_registered_node_that_is_not_on_the_roster_is_not_even_greeted(enrolment, keys):
    enrolment.grid.sites[STRANGER] = enrolment.grid.sites[11]
    enrolment.grid.sessions[STRANGER] = NodeSession(node_key_pem(keys["site-3"]), "first")
    enrolment.wait()
    assert STRANGER not in enrolment.sites
    assert STRANGER not in enrolment.refusals
    assert len(greeted(enrolment)) == 3


def test_a_node_that_calls_itself_by_another_site_s_name_displaces_nobody(enrolment):
    enrolment.grid.sites[13] = enrolment.grid.sites[11]  # answers as site-0 does, with the key of site-2
    with pytest.raises(FederationError, match="; site-2: its node calls itself 'site-0': give it its own identity"):
        enrolment.wait()
    assert enrolment.sites == {11: "site-0", 12: "site-1"}


def test_a_site_that_comes_back_with_its_old_number_is_greeted_anew(enrolment, keys):
    enrolment.wait()
    enrolment.wait()
    assert len(greeted(enrolment)) == 3
    enrolment.grid.sessions[12] = NodeSession(node_key_pem(keys["site-1"]), "second")
    enrolment.wait()
    assert greeted(enrolment)[3:] == ["site-1"]
    assert enrolment.sites[12] == "site-1"


def test_a_site_that_was_turned_away_and_comes_back_mended_takes_part(enrolment, keys):
    other = pure_recipe(rounds=7)
    enrolment.grid.sites[12].recipe = other
    with pytest.raises(FederationError, match="; site-1: it has another recipe or roster"):
        enrolment.wait()
    enrolment.grid.sites[12].recipe = RECIPE
    enrolment.grid.sessions[12] = NodeSession(node_key_pem(keys["site-1"]), "second")
    enrolment.wait()
    assert enrolment.sites[12] == "site-1"


def test_a_site_that_was_silent_and_comes_back_is_greeted_again(enrolment, keys):
    enrolment.grid.tamper = lambda site, action, reply: None if site == "site-1" else reply
    with pytest.raises(FederationError, match="missing: site-1"):
        enrolment.wait()
    enrolment.grid.tamper = lambda site, action, reply: reply
    with pytest.raises(FederationError, match="missing: site-1"):
        enrolment.wait()  # as long as it is the same silent one, it is not waited for again
    enrolment.grid.sites[12].recipe = pure_recipe(rounds=7)
    enrolment.grid.sessions[12] = NodeSession(node_key_pem(keys["site-1"]), "second")
    with pytest.raises(FederationError, match="; site-1: it has another recipe or roster"):
        enrolment.wait()
    enrolment.grid.sites[12].recipe = RECIPE
    enrolment.wait()  # silent no more, it is asked every time


def test_a_site_whose_key_the_new_roster_replaces_is_out_until_it_comes_with_the_new_one(enrolment, keys):
    enrolment.wait()
    members = list(enrolment.roster.members)
    members[1] = members[1].model_copy(update={"node_key": keys["site-3"]})
    roster = enrolment.roster.model_copy(update={"members": tuple(members)})
    for site in enrolment.grid.sites.values():
        site.roster = roster
    enrolment.take_roster(roster)
    with pytest.raises(FederationError, match="missing: site-1"):
        enrolment.wait()
    enrolment.grid.sessions[12] = NodeSession(node_key_pem(keys["site-3"]), "second")
    enrolment.wait()
    assert sorted(enrolment.sites.values()) == ["site-0", "site-1", "site-2"]


def test_a_node_that_refuses_is_known_by_its_key(enrolment):
    """An answer that is an error says nothing of who sends it, and a name in it would prove nothing."""
    enrolment.grid.tamper = lambda site, action, reply: refusal(reply, BUDGET) if site == "site-1" else reply
    with pytest.raises(FederationError) as caught:
        enrolment.wait()
    assert f"(missing: site-1; site-1: {BUDGET}): mend what keeps them away, then resume" in str(caught.value)
    assert enrolment.turned_away == (TurnedAway(site="site-1", node=12, reason=BUDGET),)
    assert enrolment.missing == ()


def test_a_grid_whose_nodes_have_no_keys_goes_by_what_they_say():
    roster, sites = pure_federation(RECIPE, 3)
    assert not isinstance(PureGrid(sites), KeyedGrid)
    enrolled = Enrolment(PureGrid(sites), RECIPE, roster, "ab" * 16)
    enrolled.wait()
    assert len(enrolled.sites) == 3


def test_keys_are_compared_without_their_comments(enrolment):
    roster: Roster = enrolment.roster
    member = roster.members[0].model_copy(update={"node_key": f"{roster.members[0].node_key} lyon"})
    commented = roster.model_copy(update={"members": (member, *roster.members[1:])})
    assert sites_by_node_key(commented) == sites_by_node_key(roster)
