"""Whole runs sealed in groups: real sites, each of which works out its own group, round after round."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sealora_client.training.local import LocalTraining
from sealora_common.receipts.check import check_chain
from sealora_common.roster import Roster
from sealora_common.round.groups import groups_of
from sealora_common.round.order import RoundOrder
from sealora_server.run.store import RunStore

from tiny_federation import WatchedGrid, adapter_of, events_of, run_inline, write_federation

SEALING = {"groups": 3, "adversary": "curious", "ring_bits": 24}
LOST = "site-4"


class LosesOne(WatchedGrid):
    """The second round loses a site after it was ready, and with it its group of two."""

    def exchange(self, site, action, message):
        reply = super().exchange(site, action, message)
        if (site, action, self.round) == (LOST, "query.confirm", 2):
            reply.content.config_records["config"]["error"] = "gone"
        return reply


@pytest.fixture(scope="module")
def run(tiny_base, tmp_path_factory):
    """Eight sites in four groups of two, three rounds; in the second a group is left out."""
    directory = tmp_path_factory.mktemp("groups")
    deltas: dict[int, list[np.ndarray]] = {}
    train = LocalTraining.train

    def spied(*arguments, **named):
        trained = train(*arguments, **named)
        deltas.setdefault(named["round_number"], []).append(trained.values)
        return trained

    sealing = SEALING | {"groups": 4, "min_survivors": 2, "weighting": "uniform"}
    recipe = write_federation(
        directory, tiny_base(), count=8, records=10, rounds=3, sealing=sealing, sites={"minimum": 8}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalTraining, "train", spied)
        done = run_inline(recipe, directory / "run", grid=LosesOne)
    return done, deltas


def test_the_run_goes_on_to_its_end_and_the_sites_believe_its_receipts(run):
    """Each order carries the receipts, and a site whose group's survivors were named wrongly would refuse it."""
    directory, _ = run
    finished = events_of(directory, "round_finished")
    assert [len(event.survivors) for event in finished] == [8, 6, 8]
    assert LOST not in finished[1].survivors
    receipts = RunStore.open(directory).receipts()
    assert [len(receipt.survivors) for receipt in receipts] == [8, 6, 8]


def test_each_round_s_groups_are_others(run):
    directory, _ = run
    roster, store = Roster.load(directory / "roster.json"), RunStore.open(directory)
    receipts = store.receipts()
    proofs = check_chain(receipts, {roster.hash.hex(): roster}, recipe=store.recipe)
    dealt = [{group.names for group in groups_of(receipt.order, roster)} for receipt in receipts]
    opened = [{opening.survivors for opening in proof.openings} for proof in proofs]
    assert [len(groups) for groups in opened] == [4, 3, 4]
    assert all(groups <= whole for groups, whole in zip(opened, dealt, strict=True))
    assert len({receipt.order.nonce for receipt in receipts}) == 3  # which the deal follows from
    assert len({frozenset(groups) for groups in dealt}) > 1  # of 105 deals two rounds may well have the same
    confirmed = [
        tuple(noted["survivors"])
        for path in sorted((directory / "sites").glob("*/receipts/*.confirmed.jsonl"))
        for noted in map(json.loads, path.read_text().splitlines())
        if noted["round_number"] <= 3  # then the last evaluation, of which there is no receipt
    ]
    assert len(confirmed) >= 22
    assert set(confirmed) <= set.union(*dealt)


def test_what_is_stepped_is_within_what_the_sites_sent(run):
    directory, deltas = run
    sent = np.array(deltas[1])
    assert len(sent) == 8
    halves = [tensor.reshape(-1) for name, tensor in adapter_of(directory, 1).items() if "lora_B" in name]
    stepped = np.sort(np.concatenate(halves))  # B starts at nothing, so this is the step
    assert stepped.shape == (sent.shape[1],)
    assert np.abs(stepped).max() <= np.abs(sent).max() + 1e-6
    assert np.abs(stepped).mean() > 0.2 * np.abs(sent).mean()


def test_an_order_names_no_group(run):
    """Groups follow from their number, the nonce and the roster: a server tells no site whom it is dealt to."""
    assert [field for field in RoundOrder.model_fields if "group" in field] == ["groups"]
    assert RoundOrder.model_fields["groups"].annotation is int
