"""Swapped public keys: the server shows a victim keys of its own in place of all its peers'.

It would read the victim's shares, which restore its secrets, and play its peers to the end. The rule: every message
is signed by a site of the pinned roster.
"""

from __future__ import annotations

import pytest

from sealora_common.entropy import SeededEntropy, SystemEntropy
from sealora_common.identity import Identity
from sealora_common.secagg import ProtocolError, RingVector, SiteSession
from sealora_common.secagg.messages import open_signed
from secagg_weakened import weaken_everywhere

from secagg_attacker import surrounds
from secagg_runs import Federation, same, vector_of

FEDERATION = Federation.of(4)
VICTIM = 0


def man_in_the_middle() -> RingVector | None:
    peers = {}
    for peer in (1, 2, 3):
        of_the_server = Identity.create(FEDERATION.roster.names[peer], SeededEntropy("the server", str(peer)))
        peers[peer] = SiteSession.begin(FEDERATION.terms, FEDERATION.roster, of_the_server, SystemEntropy())
    return surrounds(FEDERATION, VICTIM, peers)


def test_swapped_keys_read_a_site_that_does_not_check_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken_everywhere(
        monkeypatch, open_signed, ("not verify(roster.public_key(sender), signature, _SIGNED_AS + framed)", "False")
    )
    read = man_in_the_middle()
    assert read is not None
    assert same(read, vector_of(FEDERATION.terms.segments, VICTIM))


def test_swapped_keys_are_refused() -> None:
    with pytest.raises(ProtocolError, match="not signed by a site of the roster"):
        man_in_the_middle()
