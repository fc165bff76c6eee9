"""Keys replayed from an old round: the server has got hold of what some sites' sessions of an old round remembered.

The keys are truly theirs and truly signed. The rule: every message is bound to the terms of its round.
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import ProtocolError, RingVector
from sealora_common.secagg import site as site_module
from sealora_common.secagg.messages import bundle, open_signed

from secagg_attacker import Attacker, surrounds, weakened_function
from secagg_runs import Federation, same, vector_of

OLD = Federation.of(4, round_number=7)
NEW = Federation.of(4, round_number=8)
VICTIM = 0


def replay_old_keys() -> RingVector | None:
    attacker = Attacker(NEW)
    peers, shown = {}, []
    for peer in (1, 2, 3):
        stolen, advertisement = OLD.begin(peer)
        peers[peer] = (stolen._secrets.share_private, stolen._secrets.mask_private)
        attacker.advertised[peer] = stolen._own_advertisement()
        shown.append(advertisement)
    victim, own = NEW.begin(VICTIM)
    attacker.advertised[VICTIM] = victim._own_advertisement()
    return surrounds(attacker, victim, bundle([own, *shown]), peers)


def test_old_keys_read_a_site_that_does_not_check_the_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    careless = weakened_function(
        open_signed, ("reader.fixed(32)) != expected", "reader.fixed(32))[:3] != expected[:3]")
    )
    monkeypatch.setattr(site_module, "open_signed", careless)
    read = replay_old_keys()
    assert read is not None
    assert same(read, vector_of(NEW.terms.segments, VICTIM))


def test_old_keys_are_refused() -> None:
    with pytest.raises(ProtocolError, match="not of this round"):
        replay_old_keys()
