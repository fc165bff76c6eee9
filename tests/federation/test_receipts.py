"""Receipts: both sides hold one chain, and a server that forks it is found out."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from sealora_client.cli import cli as site_cli
from sealora_client.cli import main as site_main
from sealora_client.round.history import receipts_file
from sealora_client.site.directory import Site
from sealora_common.receipts.check import check_chain
from sealora_common.receipts.receipt import chain_to_bytes
from sealora_common.roster import Roster
from sealora_common.round.order import RoundOrder, vector_digest
from sealora_server.run.store import RunStore

from lora_kinds import lora
from tiny_federation import PRIVATE, WatchedGrid, adapter_of, events_of, run_inline, typed, write_federation

SITES = ("site-0", "site-1", "site-2")


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
