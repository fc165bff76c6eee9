"""Overlapping sets: the server names its victim both a survivor and a dropout, to get both kinds of its shares.

The rule: the server names the survivors only, the dropouts are what is left, and a site releases one share an owner.
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import ProtocolError, RingVector, SiteSession
from sealora_common.secagg.messages import Kind, Opening, ShareKind, bundle, open_signed

from secagg_attacker import Attacker, statement_of
from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(4)
VICTIM = 0


class TwoLists(SiteSession):
    """A site to which the server names survivors and dropouts in two lists."""

    def open_lists(self, confirmations: bytes, dropped: set[int]) -> list[bytes]:
        held = dict(self._secrets.held)
        keys_of_dropped = {index: (ShareKind.MASK_KEY, held[index].point, held[index].mask_key) for index in dropped}
        return [self.open(confirmations), self._sign(Kind.OPEN, Opening(keys_of_dropped).to_bytes())]


def attack(run: Run, openings: list[bytes]) -> RingVector | None:
    attacker = Attacker(FEDERATION)
    attacker.hears_keys(run.answers["advertise"].values())
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
        opening = Opening.from_bytes(open_signed(message, Kind.OPEN, FEDERATION.terms, FEDERATION.roster)[1])
        assert {kind for kind, _, _ in opening.shares.values()} == {ShareKind.SELF_MASK}


def test_a_survivor_named_twice_is_refused() -> None:
    run = Run(FEDERATION).until("confirm")
    statements = [statement_of(message) for message in run.answers["mask"].values()]
    with pytest.raises(ProtocolError, match="took no part"):
        run.sites[1].confirm(bundle([statements[VICTIM], *statements[:3]]))


def test_an_opening_cannot_hold_two_shares_of_one_owner() -> None:
    one = Opening({3: (ShareKind.SELF_MASK, 1, b"s" * 32)}).to_bytes()
    two = b"\x00\x02" + 2 * one[2:4] + one[4:] + b"\x02" + one[5:]
    with pytest.raises(ProtocolError, match="out of order"):
        Opening.from_bytes(two)
