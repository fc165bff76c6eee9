"""Swapped public keys: the server shows a victim keys of its own in place of all its peers'.

It would read the victim's shares, which restore its self-mask, and know all its pairwise masks. The rule: every key
is signed by a site of the pinned roster.
"""

from __future__ import annotations

import os

import pytest

from sealora_common.secagg import ProtocolError, RingVector, keys
from sealora_common.secagg import site as site_module
from sealora_common.secagg.messages import Advertisement, Kind, bundle, open_signed, sign

from secagg_attacker import Attacker, surrounds, weakened_function
from secagg_runs import Federation, identity, same, vector_of

FEDERATION = Federation.of(4)
VICTIM = 0


def man_in_the_middle() -> RingVector | None:
    attacker = Attacker(FEDERATION)
    victim, own = FEDERATION.begin(VICTIM)
    peers = {peer: (os.urandom(32), os.urandom(32)) for peer in (1, 2, 3)}
    shown = [own]
    for peer, (share_private, mask_private) in peers.items():
        swapped = Advertisement(keys.public_key(share_private), keys.public_key(mask_private))
        shown.append(sign(Kind.ADVERTISE, swapped.to_bytes(), FEDERATION.terms, identity("the server"), peer))
        attacker.advertised[peer] = swapped
    attacker.advertised[VICTIM] = victim._own_advertisement()
    return surrounds(attacker, victim, bundle(shown), peers)


def test_swapped_keys_read_a_site_that_does_not_check_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    careless = weakened_function(
        open_signed, ("not verify(roster.public_key(sender), signature, _SIGNED_AS + framed)", "False")
    )
    monkeypatch.setattr(site_module, "open_signed", careless)
    read = man_in_the_middle()
    assert read is not None
    assert same(read, vector_of(FEDERATION.terms.segments, VICTIM))


def test_swapped_keys_are_refused() -> None:
    with pytest.raises(ProtocolError, match="not signed by a site of the roster"):
        man_in_the_middle()
