"""Rosters that change while a run goes on, and those that a site does not take."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pytest

from sealora_client.cli import cli as site_cli
from sealora_client.round.history import receipts_file
from sealora_client.simulated import SimulatedSites
from sealora_client.site.directory import Site, open_site
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity, write_public_key
from sealora_common.receipts.receipt import chain_from_bytes
from sealora_common.recipe import load_recipe
from sealora_common.roster import Roster
from sealora_common.round.order import RoundOrder, layout_of, terms_of
from sealora_common.secagg.bodies import Advertisement
from sealora_common.secagg.keys import KeyPair
from sealora_common.secagg.messages import Kind, bundle, sign, unbundle
from sealora_server.cli import cli as server_cli
from sealora_server.run.store import RunStore
from sealora_server.simulation import engine
from sealora_server.simulation.sites import prepare_sites

from tiny_federation import WatchedGrid, events_of, typed, write_federation

SITES = ("site-0", "site-1", "site-2")


@dataclass
class Consortium:
    """A federation whose sites and coordinator used their commands; the roster is the coordinator's."""

    run: Path
    office: Path = field(init=False)

    @classmethod
    def start(cls, directory: Path, base: Path, *, count: int, **sections) -> Consortium:
        consortium = cls(directory / "run")
        consortium.office = directory / "office"
        recipe = write_federation(directory, base, count=count, **sections)
        parsed = SimulatedSites.resolve(load_recipe(recipe, []))
        store = RunStore.create(consortium.run, parsed)
        names = sorted(parsed.sites.simulated)
        for name in names:
            typed(site_cli, "init", name, "--directory", consortium.site(name))
        server = consortium.office / "identity.pub"
        write_public_key(server, store.server_identity().public_key)
        options = ["--consortium", "test", "--server", server, "--key", consortium.key]
        typed(server_cli, "roster", "create", consortium.roster, *options)
        cards = [consortium.site(name) / f"{name}.card.json" for name in names]
        typed(server_cli, "roster", "add", consortium.roster, *cards)
        consortium.signs()
        (consortium.run / "sites" / "roster.json").write_bytes(consortium.roster.read_bytes())
        prepare_sites(SimulatedSites, store)
        return consortium

    @property
    def roster(self) -> Path:
        return self.office / "roster.json"

    @property
    def key(self) -> Path:
        return self.office / "coordinator.pem"

    def site(self, name: str) -> Path:
        return self.run / "sites" / name

    def signs(self) -> None:
        typed(server_cli, "roster", "sign", self.roster, "--key", self.key)

    def removes(self, name: str) -> None:
        """Removes a site and hands the signed roster to the server and to the sites that are left."""
        typed(server_cli, "roster", "remove", self.roster, name)
        self.signs()
        for directory in (self.run, *(self.site(each) for each in Roster.load(self.roster).names)):
            (directory / "roster.json").write_bytes(self.roster.read_bytes())

    def runs(self, grid: type[WatchedGrid] = WatchedGrid, after_round=lambda number: None) -> None:
        """Runs or resumes the rounds with all sites' nodes; `after_round(number)` happens between two rounds."""
        finish = RunStore.finish_round

        def finished(store, round_number, **rest):
            record = finish(store, round_number, **rest)
            after_round(round_number)
            return record

        names = sorted(path.parent.name for path in (self.run / "sites").glob("*/site.yaml"))
        with mock.patch.object(engine, "InlineGrid", grid), mock.patch.object(RunStore, "finish_round", finished):
            engine.run_engine(engine.Engine.INLINE, self.run, names)

    def survivors(self) -> list[tuple[str, ...]]:
        return [receipt.survivors for receipt in RunStore.open(self.run).receipts()]


LEFT = ("site-0", "site-1", "site-3")


def test_a_removed_site_is_out_from_the_next_round_on_and_the_rounds_go_on(tiny_base, tmp_path):
    consortium = Consortium.start(tmp_path, tiny_base(), count=4, rounds=3)
    greeted: list[tuple[int, str]] = []

    class Watching(WatchedGrid):
        def exchange(self, site, action, message):
            if self.round > 1:
                greeted.append((self.round, f"{site} {action}"))
            return super().exchange(site, action, message)

    consortium.runs(Watching, lambda number: consortium.removes("site-2") if number == 1 else None)
    assert consortium.survivors() == [(*SITES, "site-3"), LEFT, LEFT]
    assert {what for _, what in greeted if what.startswith("site-2")} <= {"site-2 query.hello"}
    assert events_of(consortium.run, "round_aborted") == []
    (last,) = events_of(consortium.run, "evaluation_finished")
    assert last.survivors == LEFT
    old, *new = [receipt.roster_hash for receipt in RunStore.open(consortium.run).receipts()]
    assert new == [Roster.load(consortium.roster).hash.hex()] * 2
    assert old != new[0]
    told = (consortium.run / "receipts.jsonl").read_bytes()
    assert all(receipts_file(consortium.site(site)).read_bytes() == told for site in LEFT)
    assert chain_from_bytes(told)[2].survivors == LEFT
    # Either side keeps the rosters that its receipts are under.
    for directory in (consortium.run, consortium.site("site-0")):
        said = typed(site_cli, "receipts", "verify", directory, "--roster", consortium.roster).splitlines()
        assert [line.endswith("not the one given") for line in said[:3]] == [True, False, False]


def test_a_roster_that_arrives_in_the_middle_of_a_round_aborts_it_and_the_next_attempt_is_sealed_under_it(
    tiny_base, tmp_path
):
    consortium = Consortium.start(tmp_path, tiny_base(), count=4, rounds=2)

    class Arriving(WatchedGrid):
        arrived = False

        def exchange(self, site, action, message):
            if (self.round, action, self.arrived) == (2, "query.mask", False):
                type(self).arrived = True
                consortium.removes("site-2")
            return super().exchange(site, action, message)

    consortium.runs(Arriving)
    assert [(event.round, event.attempt) for event in events_of(consortium.run, "round_aborted")] == [(2, 1)]
    assert consortium.survivors() == [(*SITES, "site-3"), LEFT]


def test_a_run_resumed_after_a_removal_stays_with_the_sites_that_are_left(tiny_base, tmp_path):
    consortium = Consortium.start(tmp_path, tiny_base(), count=4, rounds=2)

    def stop(number):
        consortium.removes("site-2")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consortium.runs(after_round=stop)
    consortium.runs()
    assert consortium.survivors() == [(*SITES, "site-3"), LEFT]


def test_a_server_that_forwards_a_removed_site_s_messages_gets_no_sum_with_it(tiny_base, tmp_path):
    """It shows its keys in place of site-3's: of the old roster, under a free index, under site-3's own."""
    sections = {"sites": {"round_attempts": 4, "stage_timeout": 1.0}}
    consortium = Consortium.start(tmp_path, tiny_base(), count=4, rounds=2, **sections)
    outsider = Site(consortium.site("site-2"))

    class Forwarding(WatchedGrid):
        order = None

        def exchange(self, site, action, message):
            config = message.content.config_records["config"]
            if action == "train":
                self.order = RoundOrder.parse(config["order"])
            if action == "query.share" and self.round == 2 and self.attempt <= 3:
                shown = unbundle(config["payload"], limit=10, message_limit=1 << 16)
                roster = outsider.roster if self.attempt == 1 else Roster.load(consortium.roster)
                shown[2] = self.advertisement(roster, 3 if self.attempt == 2 else 2)
                config["payload"] = bundle(shown)
            return super().exchange(site, action, message)

        def advertisement(self, roster, index):
            layout = layout_of(self.order, outsider.recipe, roster, outsider.model().layout)
            terms = terms_of(self.order, outsider.recipe, roster, layout)
            keys = Advertisement(KeyPair(os.urandom(32)).public, KeyPair(os.urandom(32)).public)
            return sign(Kind.ADVERTISE, keys.to_bytes(), terms, outsider.identity, index)

    consortium.runs(Forwarding, lambda number: consortium.removes("site-2") if number == 1 else None)
    assert consortium.survivors() == [(*SITES, "site-3"), LEFT]
    reasons = {event.attempt: event.reason for event in events_of(consortium.run, "round_aborted") if event.round == 2}
    stranger = "advertise message is not signed by a site of the roster"
    expected = {1: "advertise message is not of this round", 2: stranger, 3: stranger}
    assert reasons.keys() == expected.keys()
    for attempt, said in expected.items():
        assert reasons[attempt].count(said) == len(LEFT), reasons[attempt]


TAMPERING = {
    "unsigned": (lambda value: value.update(signature=""), "signature does not hold"),
    "edited": (lambda value: value["members"].pop(), "signature does not hold"),
    "another server": (lambda value: value.update(server=value["coordinator"]), "signature does not hold"),
}


@pytest.fixture(scope="module")
def settled(tiny_base, tmp_path_factory) -> Consortium:
    return Consortium.start(tmp_path_factory.mktemp("settled"), tiny_base(), count=3)


@pytest.fixture
def consortium(settled) -> Consortium:
    path = settled.site("site-0") / "roster.json"
    before = path.read_bytes()
    yield settled
    path.write_bytes(before)


@pytest.mark.parametrize("case", TAMPERING)
def test_a_site_refuses_a_roster_that_is_unsigned_or_edited(consortium, case):
    change, said = TAMPERING[case]
    path = consortium.site("site-0") / "roster.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(PolicyError, match=f"roster.json: the coordinator's {said}: do not use this roster"):
        open_site(consortium.site("site-0"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "signed by another coordinator than the one pinned here"),
        ({"drop": "site-0"}, "signed by another coordinator"),
    ],
)
def test_a_site_refuses_a_roster_of_another_coordinator_s(consortium, change, said):
    """The server makes a coordinator of its own and signs the same sites, or others."""
    roster = Roster.load(consortium.roster)
    usurper = Identity.create("coordinator", SystemEntropy())
    members = tuple(member for member in roster.members if member.name != change.get("drop"))
    false = roster.model_copy(update={"coordinator": usurper.public_key_text, "members": members}).signed(usurper)
    false.save(consortium.site("site-0") / "roster.json")
    assert Roster.load(consortium.site("site-0") / "roster.json").is_signed
    with pytest.raises(PolicyError, match=said):
        open_site(consortium.site("site-0"))


def signed_with(consortium: Consortium, **changes) -> None:
    roster = Roster.load(consortium.roster).model_copy(update=changes)
    coordinator = Identity.load("coordinator", consortium.key)
    roster.signed(coordinator).save(consortium.site("site-0") / "roster.json")


def test_a_site_takes_no_part_under_a_roster_without_itself_with_another_key_or_without_a_server(consortium):
    members = Roster.load(consortium.roster).members
    signed_with(consortium, members=members[1:])
    with pytest.raises(PolicyError, match="site 'site-0' is not on the roster"):
        open_site(consortium.site("site-0"))
    swapped = members[0].model_copy(update={"public_key": Identity.create("x", SystemEntropy()).public_key_text})
    signed_with(consortium, members=(swapped, *members[1:]))
    with pytest.raises(PolicyError, match="the key it lists for 'site-0' is not this site's"):
        open_site(consortium.site("site-0"))
    signed_with(consortium, server=None)
    with pytest.raises(PolicyError, match="names no server key"):
        open_site(consortium.site("site-0"))
    signed_with(consortium, members=members[:2])
    with pytest.raises(PolicyError, match="minimum_sites is 3, but the roster has 2"):
        open_site(consortium.site("site-0"))
