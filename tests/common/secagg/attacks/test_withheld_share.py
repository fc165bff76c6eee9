"""Withheld ciphertexts: the server does not pass on a share.

Among few sites, where all are neighbours, the recipient sees that one is missing. In a sparse graph it cannot know
who drew it; the sender still masks with it, so the server can only spoil its own sum: no mask comes off that would
have stayed on.
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import ProtocolError
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.messages import Envelopes, MaskRequest, ShareKind

from secagg_attacker import Attacker, plan_draws
from secagg_runs import Federation, Run

VICTIM, CHOSEN = 0, 1


def withhold(stage: str, index: int, request: bytes) -> bytes:
    """The site the victim chose does not get the victim's share."""
    if (stage, index) != ("mask", CHOSEN):
        return request
    told = MaskRequest.from_bytes(request)
    kept = {sender: sent for sender, sent in told.envelopes.ciphertexts.items() if sender != VICTIM}
    return MaskRequest(told.sharers, Envelopes(kept)).to_bytes()


def test_a_withheld_share_is_noticed_among_few_sites() -> None:
    with pytest.raises(ProtocolError, match="was withheld"):
        Run(Federation.of(4), on_request=withhold).finish()


def test_a_withheld_share_spoils_the_sum_and_reads_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    federation = Federation.of(9, small_graph=Neighbourhood(4, 3))
    plan_draws(monkeypatch, 9, {VICTIM: (1, 2, 3, 4), CHOSEN: (2, 3, 4, 5)})
    run = Run(federation, on_request=withhold).until("open")
    attacker = Attacker(federation)
    attacker.hears_keys(run.answers["advertise"].values())
    for index, request in run.close("open").items():
        attacker.hears_opening(run.answer("open", index, request))
    masked = run.answers["mask"]
    assert all(attacker.restores(index, ShareKind.SELF_MASK) for index in masked)
    peers = {index: set(range(9)) - {index} for index in masked}
    assert attacker.reads({VICTIM: masked[VICTIM]}, peers) is None
    # All self-masks are opened; what is left on the sum is the mask of the victim and the site it chose.
    peers[CHOSEN] -= {VICTIM}
    assert attacker.reads(masked, peers) is None
