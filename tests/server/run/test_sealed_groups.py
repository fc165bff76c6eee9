"""Sealing in groups. The sites have no model."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Message

from sealora_common.entropy import SystemEntropy
from sealora_common.errors import FederationError
from sealora_common.identity import Identity
from sealora_common.records.event_log import read_events
from sealora_common.records.events import SiteFailed, Stage
from sealora_common.roster import Roster
from sealora_common.round.groups import groups_of
from sealora_common.round.order import RoundOrder
from sealora_server.run.sealed_round import SealedSum, seal_round

from lora_kinds import lora
from pure_sites import LAYOUT, PureGrid, federation_over, order_for, pure_federation, pure_recipe, refusal

SIZE = lora().trained(LAYOUT, 1).size


class Federation:
    """Pure sites that are sealed in groups."""

    def __init__(self, directory, count=12, groups=4, **sealing):
        section = {"groups": groups, "ring_bits": 32, "clip_range": 8.0, "adversary": "curious", **sealing}
        self.recipe = pure_recipe(sealing=section, sites={"minimum": count, "stage_timeout": 0.3})
        server = Identity.create("server", SystemEntropy())
        self.roster, self.sites = pure_federation(self.recipe, count, server=server)
        self.grid = PureGrid(self.sites)
        self.federation = federation_over(directory, self.grid, self.recipe, self.roster, server)
        self.events = self.federation.events
        self.sealed: SealedSum | None = None
        self.start = lora().shared(LAYOUT).flatten(lora().initial(LAYOUT))

    def round(self):
        """One round of training; returns what was added to the adapter."""
        self.sealed = seal_round(self.federation, order_for(self.federation, self.start, 1), self.start)
        return self.sealed.adapter - self.start

    def groups(self) -> list[Roster]:
        return list(groups_of(self.sealed.order, self.roster))

    def mean_of(self, group: Roster) -> np.ndarray:
        deltas = {site.name: site.deltas(site.name, 1) for site in self.sites.values()}
        return np.mean([deltas[name] for name in group.names], axis=0)

    def survivors(self) -> list[tuple[str, ...]]:
        return [tuple(self.roster.names[index] for index in group) for group in self.sealed.opened.groups]

    def events_of(self, kind):
        return [entry.event for entry in read_events(self.events.path) if isinstance(entry.event, kind)]


@pytest.fixture(params=[{"combine": "median"}, {"combine": "trimmed_mean", "trim": 1}], ids=["median", "trimmed"])
def federation(request, tmp_path):
    return Federation(tmp_path, **request.param)


def silence(federation, names, at="query.mask"):
    """These sites refuse from a stage on."""

    def tamper(site: str, action: str, reply: Message) -> Message:
        return refusal(reply, "no") if site in names and action == at else reply

    federation.grid.tamper = tamper


def of_each_group(federation, how_many):
    """The first member of so many groups of the round that is under way, chosen when its order is out."""
    chosen: set[str] = set()

    def choose(site, action, content):
        if not chosen and action == "train":
            order = RoundOrder.parse(content["config"]["order"])
            chosen.update(group.names[0] for group in groups_of(order, federation.roster)[:how_many])

    federation.grid.change_request = choose
    return chosen


def test_each_group_is_opened_by_itself_and_their_means_are_combined(federation):
    moved = federation.round()
    means = np.sort([federation.mean_of(group) for group in federation.groups()], axis=0)
    np.testing.assert_allclose(moved, means[1:3].mean(axis=0), atol=2e-6)  # of four, both ways are the middle two
    assert federation.survivors() == [group.names for group in federation.groups()]
    assert federation.sealed.opened.survivors == tuple(range(12))


def test_a_liar_moves_no_coordinate_out_of_the_other_groups_range(federation):
    liar, others = federation.sites[11], federation.sites[12].deltas
    liar.deltas = lambda name, number: np.full(SIZE, -8.0, dtype=np.float32)
    liar.heldout_loss = 128.0
    moved = federation.round()
    honest = [federation.mean_of(group) for group in federation.groups() if liar.name not in group.names]
    assert len(honest) == 3
    assert (np.min(honest, axis=0) - 2e-6 <= moved).all()
    assert (moved <= np.max(honest, axis=0) + 2e-6).all()
    assert federation.sealed.opened.heldout_loss == pytest.approx(2.0)
    assert others("site-1", 1).any()


def test_a_group_far_from_the_median_has_no_part_in_the_mean(tmp_path):
    federation = Federation(tmp_path, combine="near_median", trim=1)
    liar = federation.sites[11]
    liar.deltas = lambda name, number: np.full(SIZE, -8.0, dtype=np.float32)
    moved = federation.round()
    honest = [federation.mean_of(group) for group in federation.groups() if liar.name not in group.names]
    np.testing.assert_allclose(moved, np.mean(honest, axis=0), atol=2e-6)


def test_the_groups_of_a_stage_are_asked_together(federation):
    federation.round()
    stages = federation.events_of(Stage)
    assert [(stage.stage, stage.sites) for stage in stages] == [
        (stage, 12) for stage in ("train", "share", "check", "mask", "confirm", "open")
    ]


@pytest.mark.parametrize("stage", ["query.share", "query.check", "query.mask", "query.confirm", "query.open"])
def test_a_group_with_too_few_sites_is_left_out_and_the_round_goes_on(federation, stage):
    silence(federation, of_each_group(federation, 1), at=stage)
    moved = federation.round()
    left = federation.groups()[1:]
    np.testing.assert_allclose(moved, np.median([federation.mean_of(group) for group in left], axis=0), atol=2e-6)
    assert federation.survivors() == [group.names for group in left]
    assert len(federation.sealed.opened.survivors) == 9


def test_with_fewer_than_three_groups_nothing_comes_of_the_round(federation):
    silence(federation, of_each_group(federation, 2))
    with pytest.raises(
        FederationError, match=r"only 2 groups of sites stand, 3 are needed; of one of the others, only 2"
    ):
        federation.round()
    assert federation.sealed is None


def test_a_round_that_only_turned_members_may_have_confirmed_does_not_stand(tmp_path):
    """Three groups of three are enough to combine, and nine of thirty can be corrupted."""
    federation = Federation(tmp_path, count=30, groups=10)
    silence(federation, of_each_group(federation, 7))
    with pytest.raises(FederationError, match="only 9 sites confirmed it in all groups, and of 30 as many can"):
        federation.round()
    assert federation.sealed is None


def test_a_group_whose_sum_does_not_add_up_is_left_out_and_no_other(federation):
    """Which is all that a site with a damaged vector can spoil."""
    answer = type(federation.sites[11]).answer

    def damaged(self, action, content):
        if action == "query.mask" and self.name == "site-3":
            self.vector.words[1][0] += 1
        return answer(self, action, content)

    type(federation.sites[11]).answer = damaged
    try:
        federation.round()
    finally:
        type(federation.sites[11]).answer = answer
    assert federation.survivors() == [group.names for group in federation.groups() if "site-3" not in group.names]


def test_a_site_that_deals_itself_elsewhere_is_refused(federation):
    """A group's keys are nothing in another, whoever says what."""
    cheat = federation.sites[11]
    cheat.roster = cheat.roster.subset(cheat.roster.names[:8])
    federation.round()
    assert {event.site for event in federation.events_of(SiteFailed)} == {"site-0"}
    assert not any("site-0" in group for group in federation.survivors())


def test_an_evaluation_is_the_median_of_the_groups_means(federation):
    for index, site in enumerate(federation.sites.values()):
        site.heldout_loss = float(index)
    order = order_for(federation.federation, federation.start, 4, "evaluate")
    federation.sealed = seal_round(federation.federation, order, federation.start)
    losses = {site.name: site.heldout_loss for site in federation.sites.values()}
    means = [np.mean([losses[name] for name in group.names]) for group in federation.groups()]
    assert federation.sealed.opened.heldout_loss == pytest.approx(np.median(means), abs=1e-6)
