"""Which receipts come with an order: those that a site lacks, whatever became of it in the rounds before."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest

from sealora_common.receipts.receipt import chain_from_bytes, chain_to_bytes
from sealora_common.roster.book import RosterBook, rosters_from_bytes
from sealora_server.run.catching_up import lacking
from sealora_server.run.rounds import run_rounds
from sealora_server.run.store import RunStore

from pure_sites import PureGrid, PureSite, pure_federation, pure_recipe
from quorum import Consortium

ROUNDS = 4


@dataclass
class Run:
    """Four sites, of which three are enough; `before(site, action)` may change what happens."""

    directory: Path

    def __post_init__(self) -> None:
        self.recipe = pure_recipe(rounds=ROUNDS)
        self.roster, self.nodes = pure_federation(self.recipe, 4)
        self.sites: dict[str, PureSite] = {site.name: site for site in self.nodes.values()}
        self.silent: set[tuple[str, int]] = set()
        self.store = RunStore.create(self.directory, self.recipe)

    def play(self) -> None:
        def answer(site, action, reply):
            order = len(self.sites[site].told)
            return None if action == "train" and (site, order) in self.silent else reply

        run_rounds(PureGrid(self.nodes, answer), self.store, self.roster)

    def told(self, name: str) -> list[int]:
        return self.sites[name].told


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path / "run")


def test_every_order_brings_the_one_receipt_that_is_new(run):
    run.play()
    assert {tuple(run.told(name)) for name in run.sites} == {(0, 1, 1, 1, 1)}  # the last order is to evaluate


def test_a_site_that_was_silent_is_not_taken_for_one_that_has_the_new_receipts(run):
    run.silent = {("site-2", 2)}
    run.play()
    assert run.told("site-2") == [0, 1, 2, 1, 1]
    assert run.told("site-0") == [0, 1, 1, 1, 1]


def test_members_that_lie_about_what_they_hold_fill_no_memory(run, monkeypatch):
    """Each lie asks for another part of the chain: it is made when it is sent, and the one before is let go."""
    log: list[str | int] = []
    push = PureGrid.push_messages

    def pushed(grid, messages):
        messages = list(messages)
        log.extend("sent" for message in messages if message.metadata.message_type == "train")
        return push(grid, messages)

    def made(receipts, held, *rest):
        log.append(held)
        return lacking(receipts, held, *rest)

    monkeypatch.setattr(PureGrid, "push_messages", pushed)
    monkeypatch.setattr("sealora_server.run.sealed_round.lacking", made)
    monkeypatch.setattr("sealora_server.run.exchange._SENT_TOGETHER", 1)
    for number, name in enumerate(run.sites):
        run.sites[name].receipts = (2**32 - 1, 0, 0, 9)[number]  # in round 1 all of this says the same
    run.play()
    assert log[:5] == [0, "sent", "sent", "sent", "sent"]
    run.store.events.path.unlink()
    assert all(one == "sent" or other == "sent" for one, other in itertools.pairwise(log))


def test_a_site_that_lost_its_receipts_refuses_once_and_is_sent_them_all(run):
    begin = run.sites["site-1"]._begin

    def forgetful(order):
        if order.round_number == 2:
            run.sites["site-1"].receipts = 0
        return begin(order)

    run.sites["site-1"]._begin = forgetful  # type: ignore[method-assign]
    run.play()
    assert run.told("site-1") == [0, 1, 1, 3, 1]
    assert [receipt.survivors for receipt in run.store.receipts()][2] == ("site-0", "site-2", "site-3")


def test_a_resumed_run_sends_each_site_what_it_says_it_lacks(run, monkeypatch):
    finish = RunStore.finish_round

    def stopped(store, number, **rest):
        if number == 3:
            raise KeyboardInterrupt
        return finish(store, number, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "finish_round", stopped)
        with pytest.raises(KeyboardInterrupt):
            run.play()
    run.sites["site-3"].receipts = 0
    for site in run.sites.values():
        site.told.clear()
    run.store = RunStore.open(run.directory)
    run.play()
    assert run.told("site-0") == [0, 1, 1]
    assert run.told("site-3") == [2, 1, 1]


def test_the_rosters_of_what_is_sent_come_with_it(tmp_path):
    home, later = Consortium(), Consortium()
    later.roster = later.roster_of(home.names[:3])
    chain = home.chain(2)
    chain.append(later.receipt(later.order(chain)))
    book = RosterBook(tmp_path)
    for roster in (home.roster, later.roster):
        book.keep(roster)
    assert lacking(chain, 3, book, later.roster) == {"receipts": b""}
    assert lacking(chain, 2, book, later.roster) == {"receipts": chain_to_bytes(chain[2:])}
    sent = lacking(chain, 1, book, later.roster)
    assert chain_from_bytes(sent["receipts"]) == chain[1:]
    assert rosters_from_bytes(sent["rosters"], coordinator=home.roster.coordinator_pin) == [home.roster]
    assert lacking(chain, 9, book, later.roster) == {"receipts": b""}
