from __future__ import annotations

import time

import numpy as np
import pytest
from flwr.app import ConfigRecord

from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.errors import FederationError
from sealora_common.records.events import TurnedAway
from sealora_common.round.wire_format import RUN, field
from sealora_server.run.enrolment import Enrolment
from sealora_server.run.exchange import LONGEST_REASON

from pure_sites import LAYOUT, PureGrid, node_error, pure_federation, pure_recipe, refusal

RUN_ID = "0123456789abcdef" * 2
BUDGET = "the site's privacy budget does not allow this whole run; `sealora-site budget` at the site says why"
OTHER = AdapterLayout((TensorSpec("other.lora_A.weight", (2, 4)), TensorSpec("other.lora_B.weight", (4, 2))))


def enrolment(count=3, *, present=None, **sections):
    recipe = pure_recipe(**sections)
    roster, sites = pure_federation(recipe, count)
    connected = dict(list(sites.items())[: count if present is None else present])
    return Enrolment(PureGrid(connected), recipe, roster, RUN_ID), sites


def test_all_sites_are_known_by_name_and_agree_on_the_layout():
    enrolled, _ = enrolment()
    assert enrolled.wait() == LAYOUT
    assert enrolled.sites == {11: "site-0", 12: "site-1", 13: "site-2"}


def test_a_site_is_greeted_once():
    enrolled, _ = enrolment()
    enrolled.wait()
    enrolled.wait()
    assert len(enrolled.grid.delivered) == 3


def test_every_greeting_carries_the_run_s_identity():
    """A site that judges the whole run must not count twice what this run was charged before it was greeted again."""
    told = {}
    enrolled, _ = enrolment()
    enrolled.grid.change_request = lambda site, action, content: told.setdefault(site, field(content, RUN))
    enrolled.wait()
    assert told == dict.fromkeys(["site-0", "site-1", "site-2"], RUN_ID.encode())


def refusing(*sites, reason=BUDGET):
    return lambda site, action, reply: refusal(reply, reason) if site in sites else reply


def test_a_site_that_refuses_is_left_out_where_the_others_suffice():
    enrolled, _ = enrolment(4, sites={"stage_timeout": 60.0})
    enrolled.grid.tamper = refusing("site-3")
    started = time.monotonic()
    enrolled.wait()
    assert time.monotonic() - started < 5  # its answer is final: nobody else can come
    assert (enrolled.ready, enrolled.needed) == (("site-0", "site-1", "site-2"), 3)
    assert enrolled.turned_away == (TurnedAway(site=None, node=14, reason=BUDGET),)
    assert enrolled.turned_away[0].name == "node 14"  # an error has no name, and nodes have no keys here
    assert enrolled.missing == ("site-3",)


def test_where_the_others_do_not_suffice_every_one_that_refused_is_named_with_its_reason():
    enrolled, _ = enrolment(4)
    enrolled.grid.tamper = refusing("site-2", "site-3")
    with pytest.raises(FederationError) as caught:
        enrolled.wait()
    assert f"(missing: site-2, site-3; node 13: {BUDGET}; node 14: {BUDGET}): " in str(caught.value)
    assert str(caught.value).endswith("mend what keeps them away, then resume the run")


def test_a_site_that_refused_is_asked_again_and_may_have_mended_it():
    enrolled, _ = enrolment(4)
    enrolled.grid.tamper = refusing("site-3")
    enrolled.wait()
    enrolled.grid.tamper = refusing()
    enrolled.wait()
    assert (len(enrolled.ready), enrolled.turned_away) == (4, ())


@pytest.mark.parametrize("said", ["x" * 10_000_000, "a\x1b[2J\nb\u202ec " * 1000])
def test_what_a_site_says_is_one_printable_line_of_bounded_length(said):
    enrolled, _ = enrolment(4)
    enrolled.grid.tamper = refusing("site-3", reason=said)
    enrolled.wait()
    (away,) = enrolled.turned_away
    assert len(away.reason) <= LONGEST_REASON
    assert away.reason.isprintable()
    assert away.reason.endswith("...")


def test_a_sentence_of_many_refusals_is_bounded():
    enrolled, _ = enrolment(20)
    enrolled.grid.tamper = refusing(*(f"site-{index}" for index in range(20)))
    with pytest.raises(FederationError, match=r"; and 12 more\)") as caught:
        enrolled.wait()
    assert str(caught.value).count(BUDGET) == 8
    assert len(enrolled.turned_away) == 20


def test_a_name_that_only_a_greeting_claims_is_not_taken_for_a_site_s():
    enrolled, sites = enrolment(4)
    site = sites[14]
    site.identity = type(site.identity)("n" * 10_000, site.identity._private)
    enrolled.wait()
    (away,) = enrolled.turned_away
    assert (away.site, len(away.reason)) == (None, LONGEST_REASON)


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
    with pytest.raises(FederationError, match=r"missing: site-1; node 12: no answer within 0 s"):
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
    assert "missing: site-2; " in str(caught.value)
    return str(caught.value)


def test_a_site_with_another_recipe_is_refused():
    def change(site):
        site.recipe = pure_recipe(rounds=4)

    assert "missing: site-2; site-2: it has another recipe or roster: give it this run's" in refuse_one(change)


def test_a_site_with_another_roster_is_refused():
    def change(site):
        site.roster, _ = pure_federation(site.recipe, 3)

    assert "site-2: it has another recipe or roster" in refuse_one(change)


def test_a_site_with_another_base_model_is_refused():
    def change(site):
        site.layout = OTHER

    assert "site-2: it has another base model: its adapter has other tensors" in refuse_one(change)


@pytest.mark.parametrize("wrong", [11, 12, 13, 14])
def test_one_site_with_another_base_model_does_not_turn_the_others_away(wrong):
    enrolled, sites = enrolment(4)
    sites[wrong].layout = OTHER
    assert enrolled.wait() == LAYOUT
    assert sorted(enrolled.sites) == sorted(set(sites) - {wrong})
    assert "another base model" in enrolled.refusals[wrong].reason


def test_a_site_that_comes_later_with_another_base_model_is_refused():
    enrolled, sites = enrolment(4, present=3, sites={"stage_timeout": 0.1})
    enrolled.wait()
    sites[14].layout = OTHER
    enrolled.grid.sites[14] = sites[14]
    enrolled.refresh()
    assert enrolled.sites == {11: "site-0", 12: "site-1", 13: "site-2"}
    assert "another base model" in enrolled.refusals[14].reason


def test_a_site_that_is_not_on_the_roster_is_refused():
    def change(site):
        site.identity = type(site.identity)("site-9", site.identity._private)

    assert "; node 13: it calls itself 'site-9', which is not on the roster" in refuse_one(change)


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
    assert "greeting is malformed" in enrolled.refusals[13].reason


def test_what_a_node_reports_reaches_the_operator_in_one_line():
    enrolled, _ = enrolment(3)
    enrolled.grid.tamper = lambda site, action, reply: (
        node_error(reply, "Traceback\n  line\nValueError: no") if site == "site-0" else reply
    )
    with pytest.raises(FederationError, match="the site's Flower node reported: ValueError: no") as caught:
        enrolled.wait()
    assert "\n" not in str(caught.value)


def test_a_site_whose_base_model_has_other_values_is_turned_away():
    """Where an adapter begins with them: most sites say what they are."""
    layouts = [
        AdapterLayout((TensorSpec("m.norm.weight", (2,), np.array(values, dtype="<f4").tobytes()),))
        for values in ((1.0, 1.0), (1.0, 1.5))
    ]
    enrolled, sites = enrolment(4, sites={"stage_timeout": 60.0})
    for site in sites.values():
        site.layout = layouts[site.name == "site-2"]
    assert enrolled.wait() == layouts[0]
    assert enrolled.ready == ("site-0", "site-1", "site-3")
    (away,) = enrolled.turned_away
    assert "it has another base model" in away.reason
