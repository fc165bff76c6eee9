"""Overlapping sets: the server names its victim both a survivor and a dropout, to get both kinds of its shares.

The rule: the server names the survivors only, the dropouts are what is left, and a site releases one share an owner.
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import ProtocolError, RingVector, SiteSession
from sealora_common.secagg.bodies import Opening, ShareKind
from sealora_common.secagg.messages import Kind, bundle

from secagg_attacker import Attacker, body_of, statement_of
from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(4)
VICTIM = 0


class TwoLists(SiteSession):
    """A site to which the server names survivors and dropouts in two lists."""

    def open_lists(self, confirmations: bytes, dropped: set[int]) -> list[bytes]:
        state = self._state
        of_dropped = {index: (ShareKind.MASK_SEED, state.held[index].mask_seed) for index in dropped - {self._index}}
        second = Opening(state.transcript.digest, state.self_mask_seed, of_dropped)
        return [self.open(confirmations), self._sign(Kind.OPEN, second.to_bytes())]


def attack(run: Run, openings: list[bytes]) -> RingVector | None:
    attacker = Attacker.watching(run)
    for opening in openings:
        attacker.hears_opening(opening)
    return attacker.reads({VICTIM: run.answers["mask"][VICTIM]}, {VICTIM: {1, 2, 3}})


def test_two_overlapping_lists_read_a_site() -> None:
    run = Run(FEDERATION, site_class=TwoLists).until("open")
    openings = []
    for index, request in run.close("open").items():
        site = run.sites[index]
        assert isinstance(site, TwoLists)
        openings += site.open_lists(request, {VICTIM})
    read = attack(run, openings)
    assert read is not None
    assert same(read, run.vector(VICTIM))


def test_one_list_gives_one_kind_of_share() -> None:
    run = Run(FEDERATION).until("open")
    run.step("open")
    assert attack(run, list(run.answers["open"].values())) is None
    for message in run.answers["open"].values():
        opening = Opening.from_bytes(body_of(message, Kind.OPEN, FEDERATION))
        assert {kind for kind, _ in opening.shares.values()} == {ShareKind.SELF_MASK}


def test_a_survivor_named_twice_is_refused() -> None:
    run = Run(FEDERATION).until("confirm")
    statements = [statement_of(message) for message in run.answers["mask"].values()]
    with pytest.raises(ProtocolError, match="took no part"):
        run.sites[1].confirm(bundle([statements[VICTIM], *statements[:3]]))


def test_an_opening_cannot_hold_two_shares_of_one_owner() -> None:
    one = Opening(bytes(32), bytes(32), {3: (ShareKind.SELF_MASK, b"s" * 32)}).to_bytes()
    head, index, share = one[:64], one[66:68], one[69:]
    two = head + b"\0\2" + 2 * index + b"\1" + share + b"\2" + share
    with pytest.raises(ProtocolError, match="out of order"):
        Opening.from_bytes(two)
