"""Sites that fail at any stage of a round: the round goes on without them, or is given up with nothing opened."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from flwr.app import ConfigRecord, Error, Message
from flwr.common.constant import ErrorCode

from quick_cases import quick_cases
from sealora_client.ledger import Ledger
from sealora_client.model.adapted import adapted_model
from sealora_client.round.participation import Participation
from sealora_client.training.local import LocalTraining
from sealora_common.adapter import adapter_kind
from sealora_common.errors import FederationError
from sealora_common.round.clip_range import initial_range
from sealora_common.round.contribution import ContributionLayout
from sealora_common.secagg.encoding import FixedPoint

from lora_kinds import lora
from tiny_federation import (
    PRIVATE,
    WatchedGrid,
    adapter_bytes,
    adapter_of,
    events_of,
    prepare_run,
    recipe_of,
    run_inline,
    training_charges,
    write_federation,
)

SITES = tuple(f"site-{index}" for index in range(5))
STAGES = {
    "train": "train",
    "share": "query.share",
    "check": "query.check",
    "mask": "query.mask",
    "confirm": "query.confirm",
    "open": "query.open",
}
CURIOUS = {"adversary": "curious"}  # of five sites, three must answer


class FailingGrid(WatchedGrid):
    """Lets `failing(site, action, round, attempt)` decide whether a node reports an error instead of an answer."""

    delivered: list[tuple[str, str]]

    def __init__(self, *arguments):
        super().__init__(*arguments)
        type(self).delivered = []

    def failing(self, site: str, action: str) -> bool:
        raise NotImplementedError

    def exchange(self, site, action, message):
        type(self).delivered.append((site, action))
        if self.failing(site, action):
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, "the node went away"), reply_to=message)
        return super().exchange(site, action, message)


def failing_grid(sites, action, *, attempts=(1, 2, 3), rounds=(1,)):
    class Grid(FailingGrid):
        def failing(self, site, asked):
            return site in sites and asked == action and self.attempt in attempts and self.round in rounds

    return Grid


@pytest.fixture
def federation(tiny_base, tmp_path):
    def make(**sections):
        sections = {"sealing": CURIOUS, "rounds": 1} | sections
        return write_federation(tmp_path, tiny_base(), count=5, **sections), tmp_path / "run"

    return make


@pytest.fixture
def deltas(monkeypatch) -> dict[str, np.ndarray]:
    """The plain delta of every site's latest training."""
    seen: dict[str, np.ndarray] = {}
    train = LocalTraining.train

    def spied(self, model, examples, **rest):
        trained = train(self, model, examples, **rest)
        seen[f"site-{len(examples) - 24}"] = trained.values.copy()
        return trained

    monkeypatch.setattr(LocalTraining, "train", spied)
    return seen


def assert_round_is_the_mean_of(survivors, deltas, run):
    recipe = recipe_of(run)
    layout = adapted_model(recipe).layout
    shared = lora().shared(layout)
    moved = shared.flatten(adapter_of(run, 1)) - shared.flatten(adapter_kind(recipe).initial(layout))
    cap = recipe.sealing.weight_cap
    weights = {site: min(24 + int(site[-1]), cap) / cap for site in survivors}
    total = sum(weights.values())
    expected = sum(weights[site] * deltas[site].astype(np.float64) for site in survivors) / total
    reach = initial_range(recipe)
    bound = len(survivors) * FixedPoint(-reach, reach, recipe.sealing.ring_bits, 5).step / total
    assert np.abs(moved - expected).max() <= bound * 1.001 + 1e-7
    for dropped in set(SITES) - set(survivors):  # the mean with them in would have been another
        with_it = [*survivors, dropped]
        other = sum(deltas[site].astype(np.float64) for site in with_it if site in deltas) / len(with_it)
        assert np.abs(moved - other).max() > bound


UNIFORM = {"weighting": "records", "weight_cap": 29, "ring_bits": 20, **CURIOUS}


@pytest.mark.parametrize("stage", quick_cases(STAGES, "train", "mask", "open"))
def test_a_round_goes_on_without_two_sites_whose_nodes_fail(federation, deltas, stage):
    recipe, run = federation(sealing=UNIFORM)
    run_inline(recipe, run, grid=failing_grid({"site-1", "site-3"}, STAGES[stage]))
    # Whoever has sent its masked vector is in the sum, whatever becomes of it afterwards.
    survivors = SITES if stage in ("confirm", "open") else ("site-0", "site-2", "site-4")
    (finished,) = events_of(run, "round_finished")
    assert finished.survivors == survivors
    assert_round_is_the_mean_of(survivors, deltas, run)
    failed = events_of(run, "site_failed")
    assert {(event.stage, event.site, event.reason) for event in failed} == {
        (stage, site, "the site's Flower node reported: the node went away") for site in ("site-1", "site-3")
    }
    assert events_of(run, "round_aborted") == []


@pytest.mark.parametrize("stage", quick_cases(STAGES, "mask"))
def test_a_round_goes_on_without_a_site_whose_handler_raises_and_its_words_stay_there(
    federation, deltas, monkeypatch, stage
):
    recipe, run = federation(sealing=UNIFORM)
    name = "begin" if stage == "train" else stage
    original = getattr(Participation, name)

    def raising(first, *arguments):
        site = first if stage == "train" else first._site
        if site.name == "site-2" and (stage != "train" or arguments[0].purpose == "train"):
            raise RuntimeError("patient 4711 has pneumonia")
        return original(first, *arguments)

    monkeypatch.setattr(Participation, name, staticmethod(raising) if stage == "train" else raising)
    run_inline(recipe, run)
    failed = events_of(run, "site_failed")
    assert {(event.stage, event.site) for event in failed} == {(stage, "site-2")}
    assert failed[0].reason == "the site takes no part in this; its own log says why"
    assert "pneumonia" not in (run / "events.jsonl").read_text()
    survivors = SITES if stage in ("confirm", "open") else tuple(site for site in SITES if site != "site-2")
    assert_round_is_the_mean_of(survivors, deltas, run)


def test_a_silent_site_costs_the_round_its_timeout_and_no_more(federation, deltas):
    recipe, run = federation(sealing=UNIFORM, sites={"stage_timeout": 1.0})

    class Silent(WatchedGrid):
        def pull_messages(self, message_ids):
            for message_id in message_ids:
                message = self._undelivered.get(message_id)
                silent = message is not None and message.metadata.message_type == "query.mask" and self.round == 1
                if silent and self.site_of(message.metadata.dst_node_id) == "site-4":
                    del self._undelivered[message_id]
            return super().pull_messages(message_ids)

    run_inline(recipe, run, grid=Silent)
    (failed,) = events_of(run, "site_failed")
    assert (failed.stage, failed.site, failed.reason) == ("mask", "site-4", "no answer within 1 s")
    assert_round_is_the_mean_of(SITES[:4], deltas, run)


@pytest.mark.parametrize("stage", quick_cases(STAGES, "share", "open"))
def test_below_the_threshold_the_round_is_given_up_with_nothing_opened(federation, monkeypatch, stage):
    opened = []
    monkeypatch.setattr(ContributionLayout, "decode", lambda *arguments: opened.append(arguments))
    recipe, run = federation(sites={"round_attempts": 2}, privacy=PRIVATE)
    grid = failing_grid({"site-0", "site-1", "site-2"}, STAGES[stage])
    with pytest.raises(FederationError) as caught:
        run_inline(recipe, run, grid=grid)
    said = str(caught.value)
    assert said.startswith("round 1 failed 2 times, last because only 2 of 5 sites ")
    assert "3 are needed" in said
    assert "site-1: the site's Flower node reported: the node went away" in said
    assert said.endswith("resume the run")
    assert "\n" not in said
    aborted = events_of(run, "round_aborted")
    assert [(event.round, event.attempt) for event in aborted] == [(1, 1), (1, 2)]
    assert opened == []
    assert not (run / "rounds" / "0001").exists()
    assert events_of(run, "round_finished") == []
    if stage != "open":
        assert not [action for _, action in grid.delivered if action == "query.open"]


def test_a_malicious_setting_needs_more_than_two_thirds(federation):
    recipe, run = federation(sealing={"adversary": "malicious"}, sites={"round_attempts": 1})
    with pytest.raises(FederationError, match="only 3 of 5 sites are ready, 4 are needed"):
        run_inline(recipe, run, grid=failing_grid({"site-0", "site-1"}, "train"))


def test_an_aborted_round_is_tried_again_and_charged_once(federation, deltas):
    recipe, run = federation(sealing=UNIFORM, privacy=PRIVATE)
    run_inline(recipe, run, grid=failing_grid({"site-0", "site-1", "site-2"}, "query.share", attempts=(1,)))
    assert [(event.round, event.attempt) for event in events_of(run, "round_aborted")] == [(1, 1)]
    (finished,) = events_of(run, "round_finished")
    assert finished.survivors == SITES
    assert_round_is_the_mean_of(SITES, deltas, run)
    for site in SITES:
        charged = [(row.round_number, row.released is not None) for row in training_charges(run, site)]
        assert charged == [(1, True)]


@pytest.mark.filterwarnings("ignore:SEALORA_INSECURE_SEED")
@pytest.mark.parametrize("stage", quick_cases(["mask", "confirm", "open"], "confirm"))
def test_a_round_aborted_after_vectors_were_sent_sends_them_again_for_nothing(federation, monkeypatch, tmp_path, stage):
    """Under `local` a repeat costs nothing, and ends in the adapter of an undisturbed run with the same seeds."""
    monkeypatch.setenv("SEALORA_INSECURE_SEED", "repeat")
    recipe, run = federation(privacy=PRIVATE, rounds=2, sites={"round_attempts": 2})
    whole = run_inline(recipe, tmp_path / "whole")
    grid = failing_grid({"site-0", "site-1", "site-2"}, f"query.{stage}", attempts=(1,), rounds=(1, 2))
    run_inline(recipe, run, grid=grid)
    assert [(event.round, event.attempt) for event in events_of(run, "round_aborted")] == [(1, 1), (2, 1)]
    assert adapter_bytes(run) == adapter_bytes(whole)
    for site in SITES:
        assert [row.round_number for row in training_charges(run, site) if row.voided is None] == [1, 2]
        with Ledger(run / "sites" / site / "ledger.sqlite") as ledger:
            assert len(ledger.charges()) == 5  # two rounds, three evaluations


@pytest.mark.parametrize("spare_rounds", quick_cases([0, 1], 1))
def test_a_distributed_round_aborted_after_sums_were_sent_needs_a_spare_round(federation, spare_rounds):
    privacy = {**PRIVATE, "mechanism": "distributed", "spare_rounds": spare_rounds}
    recipe, run = federation(privacy=privacy, sealing={**CURIOUS, "ring_bits": 24}, sites={"round_attempts": 2})
    grid = failing_grid({"site-0", "site-1", "site-2"}, "query.confirm", attempts=(1,))
    if spare_rounds:
        run_inline(recipe, run, grid=grid)
        assert events_of(run, "round_finished")[0].survivors == SITES
    else:
        with pytest.raises(FederationError, match=r"only 0 of 5 sites are ready.*privacy budget does not allow"):
            run_inline(recipe, run, grid=grid)
        assert events_of(run, "round_finished") == []
    with Ledger(run / "sites" / "site-4" / "ledger.sqlite") as ledger:
        rows = training_charges(run, "site-4")
        assert len(rows) == 1 + spare_rounds
        assert all(row.released for row in rows)
        assert ledger.spent(rows[0].dataset, PRIVATE["delta"]) <= PRIVATE["epsilon"] + 1e-6


def test_a_recipe_submitted_again_is_refused_before_its_first_round(federation, tmp_path):
    """The data have been in one run; a second would end half way with the budget gone. Nobody is charged for it."""
    recipe, run = federation(privacy=PRIVATE, rounds=2)
    prepare_run(recipe, run)
    again = tmp_path / "again"
    shutil.copytree(run, again)  # the same sites, server and recipe, and another run
    (again / "run.json").write_text(json.dumps(json.loads((run / "run.json").read_text()) | {"run_id": "cd" * 16}))
    run_inline(recipe, run, resume=True)
    before = {site: [row.id for row in training_charges(run, site)] for site in SITES}
    for site in SITES:
        for ledger in (run / "sites" / site).glob("ledger.*"):
            shutil.copy(ledger, again / "sites" / site)
    with pytest.raises(FederationError, match="privacy budget does not allow this whole run") as caught:
        run_inline(recipe, again, resume=True)
    assert "0 of at least 3 sites" in str(caught.value)
    assert events_of(again, "stage") == []
    assert {site: [row.id for row in training_charges(again, site)] for site in SITES} == before


def test_a_failed_final_evaluation_is_tried_again(federation):
    recipe, run = federation()
    grid = failing_grid({"site-0", "site-1", "site-2"}, "query.mask", attempts=(1,), rounds=(2,))
    run_inline(recipe, run, grid=grid)
    assert [(event.round, event.attempt) for event in events_of(run, "round_aborted")] == [(2, 1)]
    assert len(events_of(run, "evaluation_finished")) == 1
    assert (run / "adapter" / "adapter_model.safetensors").exists()


def with_payload(message: Message, change) -> Message:
    """The same answer with another payload."""
    payload = change(message.content.config_records["config"]["payload"])
    message.content["config"] = ConfigRecord({"payload": payload})
    return message


def test_a_forged_advertisement_is_refused_by_the_server(federation, deltas):
    recipe, run = federation(sealing=UNIFORM)

    class Forging(WatchedGrid):
        def exchange(self, site, action, message):
            reply = super().exchange(site, action, message)
            if (site, action) == ("site-3", "train"):
                return with_payload(reply, lambda payload: payload[:50] + bytes([payload[50] ^ 1]) + payload[51:])
            return reply

    run_inline(recipe, run, grid=Forging)
    (failed,) = events_of(run, "site_failed")
    assert (failed.stage, failed.site) == ("train", "site-3")
    assert "not signed by a site of the roster" in failed.reason
    assert_round_is_the_mean_of([site for site in SITES if site != "site-3"], deltas, run)


def test_a_vector_whose_tally_is_wrong_voids_the_round(federation, monkeypatch):
    recipe, run = federation(sites={"round_attempts": 1})
    encode = ContributionLayout.encode

    def damaged(self, contribution, entropy):
        vector = encode(self, contribution, entropy)
        vector.words[1][0] += 1
        return vector

    monkeypatch.setattr(ContributionLayout, "encode", damaged)
    with pytest.raises(FederationError, match="does not add up"):
        run_inline(recipe, run)
    assert not (run / "rounds").exists()
