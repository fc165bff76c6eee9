from __future__ import annotations

import time

import pytest
from flwr.app import ConfigRecord

from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.errors import FederationError
from sealora_server.enrolment import Enrolment

from pure_sites import LAYOUT, PureGrid, node_error, pure_federation, pure_recipe

OTHER = AdapterLayout((TensorSpec("other.lora_A.weight", (2, 4)), TensorSpec("other.lora_B.weight", (4, 2))))


def enrolment(count=3, *, present=None, **sections):
    recipe = pure_recipe(**sections)
    roster, sites = pure_federation(recipe, count)
    connected = dict(list(sites.items())[: count if present is None else present])
    return Enrolment(PureGrid(connected), recipe, roster), sites


def test_all_sites_are_known_by_name_and_agree_on_the_layout():
    enrolled, _ = enrolment()
    assert enrolled.wait() == LAYOUT
    assert enrolled.sites == {11: "site-0", 12: "site-1", 13: "site-2"}


def test_a_site_is_greeted_once():
    enrolled, _ = enrolment()
    enrolled.wait()
    enrolled.wait()
    assert len(enrolled.grid.delivered) == 3


def test_the_wait_is_bounded_and_names_who_is_missing():
    enrolled, _ = enrolment(4, present=2, sites={"stage_timeout": 0.4})
    started = time.monotonic()
    with pytest.raises(FederationError) as caught:
        enrolled.wait()
    assert 0.3 < time.monotonic() - started < 3
    assert "2 of at least 3 sites are ready after" in str(caught.value)
    assert "(missing: site-2, site-3): start the missing sites, then resume the run" in str(caught.value)


def test_a_node_that_never_answers_is_waited_for_no_longer_than_the_recipe_says():
    enrolled, _ = enrolment(sites={"stage_timeout": 0.2, "training_timeout": 0.3})
    enrolled.grid.tamper = lambda site, action, reply: None if site == "site-1" else reply
    started = time.monotonic()
    with pytest.raises(FederationError, match=r"missing: site-1; no answer within 0 s"):
        enrolled.wait()
    assert time.monotonic() - started < 2


def test_the_minimum_is_enough_when_the_time_is_up():
    enrolled, _ = enrolment(5, present=3, sites={"stage_timeout": 0.3})
    enrolled.wait()
    assert sorted(enrolled.sites.values()) == ["site-0", "site-1", "site-2"]


def test_a_site_that_comes_late_is_waited_for():
    enrolled, sites = enrolment(3, present=2, sites={"stage_timeout": 5.0})
    greeted = enrolled.grid.get_node_ids
    calls = []

    def later():
        calls.append(1)
        if len(calls) == 3:
            enrolled.grid.sites.update(sites)
        return greeted()

    enrolled.grid.get_node_ids = later
    enrolled.wait()
    assert len(enrolled.sites) == 3
    assert len(calls) == 3


def test_fewer_sites_than_a_sum_needs_are_not_enough_even_above_the_minimum():
    # Of ten sites seven must answer a malicious server: going on with three would only use up the attempts.
    sealing = {"adversary": "malicious"}
    enrolled, _ = enrolment(10, present=6, sites={"stage_timeout": 0.2}, sealing=sealing)
    with pytest.raises(FederationError, match="6 of at least 7 sites are ready"):
        enrolled.wait()


def test_a_lost_site_stalls_no_later_round():
    enrolled, _ = enrolment(4, sites={"stage_timeout": 5.0})
    enrolled.wait()
    del enrolled.grid.sites[12]
    started = time.monotonic()
    enrolled.wait()
    assert time.monotonic() - started < 1
    assert sorted(enrolled.sites.values()) == ["site-0", "site-2", "site-3"]


def test_a_site_that_comes_back_as_another_node_takes_its_place():
    enrolled, sites = enrolment(3)
    enrolled.wait()
    enrolled.grid.sites[99] = sites[12]
    enrolled.refresh()
    assert enrolled.sites[99] == "site-1"
    assert sorted(enrolled.sites.values()) == ["site-0", "site-1", "site-2"]


def test_a_node_that_was_refused_and_left_does_not_count_as_here():
    enrolled, _ = enrolment(4, sites={"stage_timeout": 0.2})
    enrolled.grid.tamper = lambda site, action, reply: node_error(reply) if site == "site-3" else reply
    enrolled.wait()
    assert list(enrolled.refusals) == [14]
    del enrolled.grid.sites[14]
    enrolled.refresh()
    assert enrolled.refusals == {}


def refuse_one(change) -> str:
    enrolled, sites = enrolment(3)
    change(list(sites.values())[2])
    with pytest.raises(FederationError) as caught:
        enrolled.wait()
    assert "missing: site-2" in str(caught.value) or "site-9" in str(caught.value)
    return str(caught.value)


def test_a_site_with_another_recipe_is_refused():
    def change(site):
        site.recipe = pure_recipe(rounds=4)

    assert "site 'site-2' has another recipe or roster: give it this run's" in refuse_one(change)


def test_a_site_with_another_roster_is_refused():
    def change(site):
        site.roster, _ = pure_federation(site.recipe, 3)

    assert "site 'site-2' has another recipe or roster" in refuse_one(change)


def test_a_site_with_another_base_model_is_refused():
    def change(site):
        site.layout = OTHER

    assert "site 'site-2' has another base model: its adapter has other tensors" in refuse_one(change)


@pytest.mark.parametrize("wrong", [11, 12, 13, 14])
def test_one_site_with_another_base_model_does_not_turn_the_others_away(wrong):
    enrolled, sites = enrolment(4)
    sites[wrong].layout = OTHER
    assert enrolled.wait() == LAYOUT
    assert sorted(enrolled.sites) == sorted(set(sites) - {wrong})
    assert "another base model" in enrolled.refusals[wrong]


def test_a_site_that_comes_later_with_another_base_model_is_refused():
    enrolled, sites = enrolment(4, present=3, sites={"stage_timeout": 0.1})
    enrolled.wait()
    sites[14].layout = OTHER
    enrolled.grid.sites[14] = sites[14]
    enrolled.refresh()
    assert enrolled.sites == {11: "site-0", 12: "site-1", 13: "site-2"}
    assert "site 'site-3' has another base model" in enrolled.refusals[14]


def test_a_site_that_is_not_on_the_roster_is_refused():
    def change(site):
        site.identity = type(site.identity)("site-9", site.identity._private)

    assert "site 'site-9' is not on the roster" in refuse_one(change)


GREETINGS = {
    "nothing": None,
    "text": "hello",
    "no JSON": b"\xff",
    "no object": b"[]",
    "a field too many": b'{"site":"site-2","recipe_hash":"","roster_hash":"","layout":[],"records":5}',
    "a tensor without a shape": b'{"site":"site-2","recipe_hash":"","roster_hash":"","layout":[["a"]]}',
    "a shape of text": b'{"site":"site-2","recipe_hash":"","roster_hash":"","layout":[["a",["b","c"]]]}',
    "a negative shape": b'{"site":"site-2","recipe_hash":"","roster_hash":"","layout":[["a",[-1,4]]]}',
    "a shape of three": b'{"site":"site-2","recipe_hash":"","roster_hash":"","layout":[["a",[1,2,3]]]}',
}


@pytest.mark.parametrize("greeting", GREETINGS)
def test_a_malformed_greeting_turns_its_sender_away_and_nobody_else(greeting):
    enrolled, _ = enrolment(4)

    def tamper(site, action, reply):
        if site == "site-2":
            fields = {} if GREETINGS[greeting] is None else {"payload": GREETINGS[greeting]}
            reply.content["config"] = ConfigRecord(fields)
        return reply

    enrolled.grid.tamper = tamper
    assert enrolled.wait() == LAYOUT
    assert sorted(enrolled.sites.values()) == ["site-0", "site-1", "site-3"]
    assert "greeting is malformed" in enrolled.refusals[13]


def test_what_a_node_reports_reaches_the_operator_in_one_line():
    enrolled, _ = enrolment(3)
    enrolled.grid.tamper = lambda site, action, reply: (
        node_error(reply, "Traceback\n  line\nValueError: no") if site == "site-0" else reply
    )
    with pytest.raises(FederationError, match="the site's Flower node reported: ValueError: no") as caught:
        enrolled.wait()
    assert "\n" not in str(caught.value)
