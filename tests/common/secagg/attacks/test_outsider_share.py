"""A share from a site that is not in the graph: a corrupted site and the network slip an envelope into a request.

The victim would mask with a site of which the server knows nothing, and the sum would open to noise. The rule: shares
come from sites that were said to share, each of which drew the number of neighbours it should, this site among them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from sealora_common.secagg import OpenedSum, ProtocolError, SiteSession, keys
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.messages import Envelopes, Kind, MaskRequest, SharePair

from secagg_attacker import plan_draws, weakened
from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(7)
SPARSE = Federation.of(9, small_graph=Neighbourhood(4, 4))
VICTIM, OUTSIDER = 0, 4  # the server takes no opening of the victim, and opens the sum without it


def envelope(run: Run, sender: int, pair: SharePair) -> bytes:
    """An envelope that `sender` made for the victim."""
    private = run.sites[sender]._secrets.share_private
    victim_key = run.sites[VICTIM]._own_advertisement().share_public
    return keys.seal_for_peer(private, victim_key, sender, VICTIM, run.federation.terms.digest, pair.to_bytes())


def slip_in(run: Run, sender: int, pair: SharePair) -> Callable[[str, int, bytes], bytes]:
    def on_request(stage: str, index: int, request: bytes) -> bytes:
        if (stage, index) != ("mask", VICTIM):
            return request
        told = MaskRequest.from_bytes(request)
        slipped = told.envelopes.ciphertexts | {sender: envelope(run, sender, pair)}
        return MaskRequest(told.sharers, Envelopes(slipped)).to_bytes()

    return on_request


def with_an_outsider(site_class: type[SiteSession]) -> tuple[Run, OpenedSum]:
    """Site 4 advertised but did not share; the victim gets an envelope of it all the same."""
    run = Run(FEDERATION, site_class=site_class)
    run.on_request = slip_in(run, OUTSIDER, SharePair(1, os.urandom(32), os.urandom(32), 5, (0, 1, 2, 3, 5, 6)))
    return run, run.finish({OUTSIDER: "share", VICTIM: "open"})


def test_an_outsider_spoils_the_sum_of_a_site_that_takes_its_share() -> None:
    careless = weakened(
        SiteSession,
        mask=[
            ("or not set(senders) <= set(told.sharers)", ""),
            ("if self._complete and len(senders) != len(told.sharers) - 1:", "if False:"),
        ],
    )
    run, opened = with_an_outsider(careless)
    assert not same(opened.vector, run.expected(opened.survivors))


def test_a_share_of_an_outsider_is_refused() -> None:
    with pytest.raises(ProtocolError, match="takes no part"):
        with_an_outsider(SiteSession)


def with_a_false_pair(
    monkeypatch: pytest.MonkeyPatch, site_class: type[SiteSession], pair: SharePair
) -> tuple[Run, OpenedSum]:
    """In a sparse graph, a corrupted sharer slips the victim an envelope with a false list of its neighbours."""
    plan_draws(monkeypatch, len(SPARSE), {VICTIM: (1, 2, 3, 5), OUTSIDER: (1, 2, 3, 5)})
    run = Run(SPARSE, site_class=site_class)
    run.on_request = slip_in(run, OUTSIDER, pair)
    run.step("advertise")
    run.step("share")
    run.step("mask")
    run.step("confirm")
    run.step("open", {VICTIM})
    return run, run.server.open()


TRUE_PAIR = SharePair(1, b"s" * 32, b"k" * 32, 4, (0, 1, 2, 3))


def test_a_stranger_in_the_graph_spoils_the_sum_of_a_site_that_does_not_check_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Any list of neighbours would do: the server, which saw no envelope, does not take the mask off."""
    careless = weakened(SiteSession, mask=("self._check_neighbours(sender, pair)", "pass"))
    run, opened = with_a_false_pair(monkeypatch, careless, replace(TRUE_PAIR, neighbours=tuple(range(1, 9))))
    assert not same(opened.vector, run.expected(opened.survivors))


@pytest.mark.parametrize(
    "false",
    [
        replace(TRUE_PAIR, neighbours=(1, 2, 3, 5)),  # not the victim
        replace(TRUE_PAIR, neighbours=(0, 1, 2)),  # too few
        replace(TRUE_PAIR, neighbours=(0, 1, 2, 3, 5)),  # too many
        replace(TRUE_PAIR, neighbours=tuple(range(9))),  # all, itself too
        replace(TRUE_PAIR, neighbours=(0, 1, 2, OUTSIDER)),  # itself
        replace(TRUE_PAIR, neighbours=(0, 1, 2, 9)),  # not of this round
        replace(TRUE_PAIR, neighbours=(0, 1, 2, 2**16 - 1)),
        replace(TRUE_PAIR, threshold=3),
        replace(TRUE_PAIR, threshold=5),
        replace(TRUE_PAIR, threshold=0),
    ],
)
def test_neighbours_other_than_drawn_are_refused(false: SharePair, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProtocolError, match="other neighbours than it should"):
        with_a_false_pair(monkeypatch, SiteSession, false)


@pytest.mark.parametrize("recipients", [(), (1,), (1, 2, 3, 4), (0, 1, 2, 3), (1, 2, 3, 77)])
def test_the_server_leaves_out_a_site_that_shared_with_others_than_it_should(recipients: tuple[int, ...]) -> None:
    run = Run(Federation.of(5, small_graph=Neighbourhood(3, 3))).until("share")
    run.close("share")
    false = run.sites[0]._sign(Kind.SHARE, Envelopes(dict.fromkeys(recipients, b"e" * 48)).to_bytes())
    with pytest.raises(ProtocolError, match="as many of the others"):
        run.deliver("share", false)


def test_a_share_said_to_come_from_the_site_itself_is_refused() -> None:
    run = Run(Federation.of(4)).until("mask")
    told = MaskRequest.from_bytes(run.close("mask")[VICTIM])
    slipped = Envelopes(told.envelopes.ciphertexts | {VICTIM: bytes(100)})
    with pytest.raises(ProtocolError, match="takes no part"):
        run.answer("mask", VICTIM, MaskRequest(told.sharers, slipped).to_bytes())
