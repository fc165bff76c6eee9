"""Who takes part is told before the first round, and nobody is ordered anything where the sites are too few."""

from __future__ import annotations

from collections import Counter

import pytest

from sealora_common.entropy import SeededEntropy
from sealora_common.errors import FederationError, PolicyError
from sealora_common.identity import Identity
from sealora_common.records.event_log import read_events
from sealora_common.records.events import (
    EvaluationFinished,
    RoundAborted,
    RoundFinished,
    RunFinished,
    SitesReady,
    TooFewSites,
    TurnedAway,
)
from sealora_common.roster import Roster
from sealora_server.run.attempts import following_roster
from sealora_server.run.rounds import run_rounds
from sealora_server.run.store import RunStore

from pure_sites import PureGrid, pure_federation, pure_recipe, refusal

BUDGET = "the site's privacy budget does not allow this whole run; `sealora-site budget` at the site says why"
HELLO = "query.hello"
COORDINATOR = Identity.create("coordinator", SeededEntropy("coordinator"))


class Federation:
    """A run of pure sites; `refusing` are those that refuse when they are greeted."""

    def __init__(self, directory, count):
        self.recipe = pure_recipe(rounds=2)
        self.roster, sites = pure_federation(self.recipe, count, coordinator=COORDINATOR)
        self.refusing = set()
        self.grid = PureGrid(sites, self._answer)
        self.store = RunStore.create(directory, self.recipe)
        self.before = lambda site, action: None

    def run(self):
        run_rounds(self.grid, self.store, self.roster)

    def events(self, *kinds):
        return [entry.event for entry in read_events(self.store.events.path) if isinstance(entry.event, kinds)]

    def _answer(self, site, action, reply):
        self.before(site, action)
        return refusal(reply, BUDGET) if action == HELLO and site in self.refusing else reply


def test_the_others_suffice_so_the_run_goes_on_without_the_site_that_refuses(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.refusing = {"site-1"}
    federation.run()
    (ready, *rounds) = federation.events(SitesReady, TooFewSites, RoundFinished)
    away = TurnedAway(site=None, node=12, reason=BUDGET)
    assert ready == SitesReady(sites=("site-0", "site-2", "site-3"), needed=3, turned_away=(away,), missing=("site-1",))
    assert [event.survivors for event in rounds] == [("site-0", "site-2", "site-3")] * 2
    assert {action for site, action in federation.grid.delivered if site == "site-1"} == {HELLO}


def test_who_takes_part_is_told_before_anybody_is_ordered_anything(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.refusing = {"site-1"}
    told = []
    federation.before = lambda site, action: action == "train" and told.append(federation.events(SitesReady))
    federation.run()
    assert len(told) == 6
    assert all(told)


def test_the_others_do_not_suffice_so_no_site_is_ordered_anything(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.refusing = {"site-1", "site-2"}
    with pytest.raises(FederationError, match=r"2 of at least 3 sites are ready .* node 12: the site's privacy budget"):
        federation.run()
    assert Counter(federation.grid.delivered) == {(f"site-{index}", HELLO): 1 for index in range(4)}
    (told,) = federation.events(SitesReady, TooFewSites)
    assert isinstance(told, TooFewSites)
    assert (told.sites, told.needed) == (("site-0", "site-3"), 3)
    assert [(away.node, away.reason) for away in told.turned_away] == [(12, BUDGET), (13, BUDGET)]


def test_a_run_that_failed_for_want_of_sites_is_resumed_once_they_have_mended_it(tmp_path):
    federation = Federation(tmp_path, 3)
    federation.refusing = {"site-1"}
    with pytest.raises(FederationError):
        federation.run()
    federation.refusing = set()
    federation.run()
    assert [type(event) for event in federation.events(SitesReady, TooFewSites)] == [TooFewSites, SitesReady]
    assert len(federation.events(RoundFinished)) == 2


def test_a_site_that_is_turned_away_later_or_comes_in_later_is_told_then(tmp_path):
    federation = Federation(tmp_path, 5)
    federation.refusing = {"site-1"}
    leaves, comes = federation.grid.sites[15], federation.grid.sites[12]

    def before(site, action):
        if (site, action) == ("site-4", "query.open") and 15 in federation.grid.sites:
            federation.refusing = {"site-4"}
            del federation.grid.sites[15]
            federation.grid.sites[16] = leaves  # reconnects, and finds its budget spent by another run

    federation.before = before
    federation.run()
    first, second = federation.events(SitesReady)
    assert [away.node for away in first.turned_away] == [12]
    assert [away.node for away in second.turned_away] == [16]
    assert comes.name in second.sites
    assert first.sites == ("site-0", "site-2", "site-3", "site-4")
    assert second.sites == ("site-0", "site-1", "site-2", "site-3")


def test_what_has_not_changed_is_not_told_again(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.refusing = {"site-1"}
    federation.run()
    assert federation.grid.delivered.count(("site-1", HELLO)) == 4  # it may have mended it: once a round it is asked
    assert len(federation.events(SitesReady)) == 1


def test_after_a_round_that_too_few_came_to_it_is_told_again_who_takes_part(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.refusing = {"site-1"}
    connected = federation.grid.get_node_ids

    def without_site_3():
        """It is away from the end of round 1 until an attempt at round 2 was given up."""
        away = federation.events(RoundFinished) and not federation.events(RoundAborted)
        return [node for node in connected() if not (away and node == 14)]

    federation.grid.get_node_ids = without_site_3
    federation.run()
    told = federation.events(SitesReady, TooFewSites)
    assert [type(event) for event in told] == [SitesReady, TooFewSites, SitesReady]
    assert [event.missing for event in told] == [("site-1",), ("site-1", "site-3"), ("site-1",)]
    assert len(federation.events(RoundAborted)) == 1


def evaluations(federation):
    return federation.grid.delivered.count(("site-0", "evaluate"))


def test_a_final_evaluation_that_is_stored_is_not_paid_for_again_whatever_the_log_says(tmp_path):
    federation = Federation(tmp_path, 3)
    federation.run()
    assert evaluations(federation) == 1
    (told,) = federation.events(EvaluationFinished)
    log = federation.store.events.path
    log.write_text("".join(line for line in log.read_text().splitlines(True) if "_finished" not in line))
    federation.run()  # as after a kill between file and log
    assert evaluations(federation) == 1
    assert federation.events(EvaluationFinished) == [told]
    assert [event.round for event in federation.events(RoundFinished)] == [1, 2]
    assert federation.events(RunFinished)[-1].heldout_loss_after == told.heldout_loss


def test_a_run_directory_of_an_older_version_goes_on_with_the_evaluation_in_its_log(tmp_path):
    federation = Federation(tmp_path, 3)
    federation.run()
    for name in ("evaluation.json", "result.json"):
        (tmp_path / name).unlink()
    federation.run()
    assert evaluations(federation) == 1
    first, second = federation.events(RunFinished)
    assert (second.heldout_loss_after, second.adapter_sha256) == (first.heldout_loss_after, first.adapter_sha256)
    assert federation.store.is_finished


KEYS = {name: Identity.create(name, SeededEntropy(name)).public_key for name in ("a", "b", "c")}
FIRST = Roster.create("test", KEYS, COORDINATOR)
NEXT = FIRST.without_member("c").signed(COORDINATOR)
OTHER_NEXT = FIRST.without_member("b").signed(COORDINATOR)


@pytest.mark.parametrize(
    ("used", "lies_there", "said"),
    [
        (FIRST, NEXT, None),
        (NEXT, NEXT, None),
        (NEXT, FIRST, "number 1, and number 2 has been used here: it is out of date"),
        (NEXT, OTHER_NEXT, "two faces: this roster is number 2"),
        (NEXT, OTHER_NEXT.draft().signed(COORDINATOR), "follows a number 2 .* that is not the one used here"),
    ],
)
def test_a_run_takes_the_next_roster_from_its_directory_and_no_other(tmp_path, used, lies_there, said):
    path = tmp_path / "roster.json"
    lies_there.save(path)
    if said is not None:
        with pytest.raises(PolicyError, match=f"roster.json: .*{said}"):
            following_roster(path, used)
        return
    found = following_roster(path, used)
    assert (found and found.hash) == (None if used is lies_there else lies_there.hash)


def test_where_no_roster_lies_the_present_one_stays(tmp_path):
    assert following_roster(tmp_path / "roster.json", FIRST) is None


def test_a_roster_that_comes_to_lie_there_is_that_of_the_next_round(tmp_path):
    federation = Federation(tmp_path, 4)
    after = federation.roster.without_member("site-3").signed(COORDINATOR)

    def before(site, action):
        if action == "query.open":
            after.save(federation.store.directory / "roster.json")
            for each in federation.grid.sites.values():
                each.roster = after

    federation.before = before
    federation.run()
    first, second = federation.events(RoundFinished)
    assert first.survivors == ("site-0", "site-1", "site-2", "site-3")
    assert second.survivors == ("site-0", "site-1", "site-2")
    assert [receipt.roster_hash for receipt in federation.store.receipts()] == [
        federation.roster.hash.hex(),
        after.hash.hex(),
    ]
