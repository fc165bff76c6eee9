"""Whole runs: one history on both sides, rosters that change under way, ranges that follow earlier sums."""

from __future__ import annotations

import copy
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from typer.testing import CliRunner

from sealora_client.cli import cli as site_cli
from sealora_client.cli import main as site_main
from sealora_client.round.history import receipts_file
from sealora_client.simulated import SimulatedSites
from sealora_client.site.directory import Site, open_site
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import FederationError, PolicyError
from sealora_common.identity import Identity, write_public_key
from sealora_common.receipts.check import check_chain
from sealora_common.receipts.receipt import chain_from_bytes, chain_to_bytes
from sealora_common.recipe import load_recipe
from sealora_common.roster import Roster
from sealora_common.round.clip_range import initial_range
from sealora_common.round.contribution import ContributionLayout
from sealora_common.round.order import RoundOrder, layout_of, terms_of, vector_digest
from sealora_common.secagg.bodies import Advertisement
from sealora_common.secagg.encoding import FixedPoint
from sealora_common.secagg.keys import KeyPair
from sealora_common.secagg.messages import Kind, bundle, sign, unbundle
from sealora_common.secagg.rotation import BLOCK
from sealora_server.cli import cli as server_cli
from sealora_server.run.store import RunStore
from sealora_server.simulation import engine
from sealora_server.simulation.sites import prepare_sites

from lora_kinds import lora
from tiny_federation import PRIVATE, WatchedGrid, adapter_of, events_of, recipe_of, run_inline, write_federation

SITES = ("site-0", "site-1", "site-2")


def typed(cli, *words: object) -> str:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    if result.exception is not None:
        raise result.exception
    return result.output


# Receipts


@pytest.fixture(scope="module")
def interrupted(tiny_base, tmp_path_factory) -> tuple[Path, list[bytes]]:
    """A run of three rounds that was killed in the second one and resumed; and the chains it had before."""
    directory = tmp_path_factory.mktemp("receipts")
    recipe, run = write_federation(directory, tiny_base(), rounds=3, privacy=PRIVATE), directory / "run"

    class Killed(WatchedGrid):
        def exchange(self, site, action, message):
            if self.round == 2 and action == "query.confirm" and site == "site-1":
                raise KeyboardInterrupt
            return super().exchange(site, action, message)

    with pytest.raises(KeyboardInterrupt):
        run_inline(recipe, run, grid=Killed)
    before = [receipts_file(run / "sites" / site).read_bytes() for site in SITES]
    assert before == [chain_to_bytes(RunStore.open(run).receipts())] * 3
    return run_inline(recipe, run, resume=True), before


def test_after_a_run_both_sides_hold_the_same_chain(interrupted):
    run, _ = interrupted
    store = RunStore.open(run)
    chain = store.receipts()
    assert len(chain) == 3
    roster = Roster.load(run / "roster.json")
    assert roster.server_key == store.server_identity().public_key
    check_chain(chain, {roster.hash.hex(): roster}, run=store.run_id, recipe=store.recipe)
    assert (run / "receipts.jsonl").read_bytes() == chain_to_bytes(chain)
    for site in SITES:
        assert (run / "sites" / site / "receipts" / f"{store.run_id}.jsonl").read_bytes() == chain_to_bytes(chain)


def test_a_resumed_run_goes_on_with_the_chain_it_had(interrupted):
    run, before = interrupted
    assert before[0] == chain_to_bytes(RunStore.open(run).receipts()[:1])


def test_receipts_name_the_adapters_that_were_published_and_the_sites_that_were_in_them(interrupted):
    run, _ = interrupted
    store = RunStore.open(run)
    shared = lora().shared(Site(run / "sites" / "site-0").model().layout)
    roster = Roster.load(run / "roster.json")
    for number, receipt in enumerate(store.receipts(), start=1):
        assert receipt.adapter_digest == vector_digest(shared.flatten(adapter_of(run, number)))
        assert receipt.survivors == store.record(number).survivors == SITES
        assert receipt.roster_hash == roster.hash.hex()


def test_two_sites_of_the_run_compare_their_chains(interrupted):
    run, _ = interrupted
    said = typed(site_cli, "receipts", "compare", run / "sites" / "site-0", run / "sites" / "site-2")
    assert said == "the chains agree on rounds 1 to 3\n"


@pytest.mark.parametrize("holder", ["", "sites/site-1"])
def test_anybody_with_the_roster_and_the_recipe_checks_the_run(interrupted, holder):
    run, _ = interrupted
    options = ["--roster", run / "roster.json", "--recipe", run / "recipe.yaml"]
    said = typed(site_cli, "receipts", "verify", run / holder, *options).splitlines()
    assert [line.split(",")[0] for line in said[:3]] == ["round 1", "round 2", "round 3"]
    assert all("3 confirmations, 3 needed (site-0, site-1, site-2)" in line for line in said[:3])


def test_a_server_that_forks_history_loses_the_site_it_lied_to_and_is_found_out(
    tiny_base, tmp_path, monkeypatch, capsys
):
    """From round 2 on site-0 is told another adapter of round 1, with a receipt that fits it."""
    sections = {"sealing": {"adversary": "curious"}, "sites": {"round_attempts": 1}}
    recipe, run = write_federation(tmp_path, tiny_base(), count=4, **sections), tmp_path / "run"

    class Forking(WatchedGrid):
        def exchange(self, site, action, message):
            if site == "site-0" and action == "train" and self.round == 2:
                # The server's own copy, which the other sites get as well, stays as it is.
                message = copy.copy(message)
                message.__dict__ = {**message.__dict__, "_content": self.forked(message.content)}
            return super().exchange(site, action, message)

        def forked(self, content):
            store = RunStore.open(run)
            adapter = np.asarray(content.array_records["arrays"]["adapter"].numpy()) + np.float32(1)
            server = store.server_identity()
            told = store.receipts()[0].model_copy(update={"adapter_digest": vector_digest(adapter)}).signed_by(server)
            order = RoundOrder.parse(content.config_records["config"]["order"])
            order = order.model_copy(update={"adapter_digest": told.adapter_digest, "history": told.hash})
            fields = {"order": order.to_bytes(), "order-signature": order.signed_by(server)}
            config = ConfigRecord(fields | {"receipts": chain_to_bytes([told])})
            return RecordDict({"arrays": ArrayRecord({"adapter": Array(adapter)}), "config": config})

    run_inline(recipe, run, grid=Forking)
    refused = [event.reason for event in events_of(run, "site_failed") if event.site == "site-0" and event.round == 2]
    assert refused
    assert "not of this round" in refused[0]
    assert [event.survivors for event in events_of(run, "round_finished")] == [
        ("site-0", *SITES[1:], "site-3"),
        (*SITES[1:], "site-3"),
    ]
    # Told the truth in the evaluation, the site refuses; its chain is the proof.
    last = [event.reason for event in events_of(run, "site_failed") if event.round == 3]
    assert any("the server's receipts differ from this site's from round 1 on" in reason for reason in last)
    arguments = [str(run / "sites" / site) for site in ("site-0", "site-1")]
    monkeypatch.setattr(sys, "argv", ["sealora-site", "receipts", "compare", *arguments])
    with pytest.raises(SystemExit) as left:
        site_main()
    assert left.value.code == 1
    assert "the chains differ from round 1 on" in capsys.readouterr().err


# Rosters


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


# Ranges and rotation


@dataclass
class Seen:
    """What the sites put into the rounds of a run, and what was opened."""

    run: Path
    ranges: list[float] = field(default_factory=list)
    weighted: dict[float, list[np.ndarray]] = field(default_factory=dict)
    words: set[int] = field(default_factory=set)
    opened: list = field(default_factory=list)


def observed(directory: Path, base: Path, **sections) -> Seen:
    seen = Seen(directory / "run")
    encode, decode = ContributionLayout.encode, ContributionLayout.decode

    def spied_encode(self, contribution, entropy):
        if self.parameters:
            if self.clip_range not in seen.ranges:
                seen.ranges.append(self.clip_range)
            seen.weighted.setdefault(self.clip_range, []).append(contribution.values * np.float64(contribution.weight))
            seen.words.add(self.segments[0].length)
        return encode(self, contribution, entropy)

    def spied_decode(self, opened):
        seen.opened.append(decode(self, opened))
        return seen.opened[-1]

    with mock.patch.multiple(ContributionLayout, encode=spied_encode, decode=spied_decode):
        run_inline(write_federation(directory, base, rounds=3, **sections), seen.run)
    return seen


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "rotated"])
def ranged(request, tiny_base, tmp_path_factory) -> Seen:
    sealing = {"weight_cap": 400, "rotation": request.param}
    return observed(tmp_path_factory.mktemp("range"), tiny_base(), sealing=sealing)


def test_the_range_of_a_round_follows_the_sum_of_the_one_before(ranged):
    recipe = recipe_of(ranged.run)
    records = [RunStore.open(ranged.run).record(number) for number in (1, 2, 3)]
    assert ranged.ranges == [initial_range(recipe), records[0].next_clip_range, records[1].next_clip_range]
    assert ranged.ranges[1] < ranged.ranges[0] / 2
    if not recipe.sealing.rotation:
        total = np.abs(ranged.opened[0].mean_delta * ranged.opened[0].total_weight).max()
        assert ranged.ranges[1] == pytest.approx(1.25 * total)
    assert all(record.clipped_fraction <= 1e-3 for record in records)


def test_the_result_is_the_plain_weighted_mean_within_the_bound_of_the_narrower_range(ranged):
    recipe = recipe_of(ranged.run)
    errors = []
    for reach, opened in zip(ranged.ranges, ranged.opened, strict=False):
        exact = np.sum(ranged.weighted[reach], axis=0) / opened.total_weight
        error = opened.mean_delta - exact
        step = FixedPoint(-reach, reach, recipe.sealing.ring_bits, len(SITES)).step
        # Rounding errs by less than a step a site and coordinate, by half of it in the mean; a rotation keeps norms.
        assert np.linalg.norm(error) < 3**0.5 * step / opened.total_weight * np.sqrt(error.size + BLOCK) / 2 * 1.1
        if not recipe.sealing.rotation:
            assert np.abs(error).max() < 3 * step / opened.total_weight * 1.001
        errors.append(float(np.linalg.norm(error) / np.linalg.norm(exact)))
    assert errors[1] < errors[0] / 2
    assert errors[2] < 1e-2


def test_a_rotated_run_sends_whole_blocks_and_ends_with_an_evaluation(ranged):
    rotation = recipe_of(ranged.run).sealing.rotation
    assert {length % BLOCK == 0 for length in ranged.words} == {rotation}
    (last,) = events_of(ranged.run, "evaluation_finished")
    assert last.survivors == SITES


def test_a_range_that_the_recipe_fixes_stays_through_the_run(tiny_base, tmp_path):
    assert observed(tmp_path, tiny_base(), sealing={"clip_range": 0.015625}).ranges == [0.015625]


def test_an_order_with_a_wider_range_than_the_recipe_s_is_refused_by_every_site(tiny_base, tmp_path):
    recipe, run = write_federation(tmp_path, tiny_base(), sites={"round_attempts": 1}), tmp_path / "run"

    class Widening(WatchedGrid):
        def exchange(self, site, action, message):
            if action == "train":
                config = message.content.config_records["config"]
                order = RoundOrder.parse(config["order"])
                wider = order.model_copy(update={"clip_range": np.nextafter(order.clip_range, 1)})
                config["order"] = wider.to_bytes()
                config["order-signature"] = wider.signed_by(RunStore.open(run).server_identity())
            return super().exchange(site, action, message)

    with pytest.raises(FederationError, match="none that the recipe allows: it was refused"):
        run_inline(recipe, run, grid=Widening)
    refused = {event.site for event in events_of(run, "site_failed") if "none that the recipe allows" in event.reason}
    assert refused == set(SITES)
    assert not list((run / "sites").glob("*/ledger.sqlite"))
