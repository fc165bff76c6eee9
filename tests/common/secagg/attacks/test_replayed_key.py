"""Keys replayed from an old round: the server has got hold of what some sites' sessions of an old round remembered.

The keys are truly theirs and truly signed, so the victim would share its secrets with the server, which restores
them. The rule: every message is bound to the terms of its round.
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import ProtocolError
from sealora_common.secagg.bodies import ShareKind
from sealora_common.secagg.messages import bundle, open_signed
from secagg_weakened import weaken_everywhere

from secagg_attacker import Attacker
from secagg_runs import Federation

OLD = Federation.of(4, round_number=7)
NEW = Federation.of(4, round_number=8)
VICTIM = 0


def replay_old_keys() -> tuple[list[bytes], list[bytes | None]]:
    """Returns the victim's secrets, and what the server restored."""
    attacker = Attacker(NEW)
    shown = []
    for peer in (1, 2, 3):
        stolen, advertisement = OLD.begin(peer)
        attacker.corrupts(stolen)
        shown.append(advertisement)
    victim, own = NEW.begin(VICTIM)
    secrets = [victim._state.self_mask_seed, victim._state.mask_seed]
    attacker.hears_shares([victim.share(bundle([own, *shown]))])
    attacker.hears_keys([own, *shown])
    return secrets, [attacker.restores(VICTIM, kind) for kind in (ShareKind.SELF_MASK, ShareKind.MASK_SEED)]


def test_old_keys_open_the_secrets_of_a_site_that_does_not_check_the_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken_everywhere(
        monkeypatch, open_signed, ("reader.fixed(32)) != expected", "reader.fixed(32))[:3] != expected[:3]")
    )
    secrets, restored = replay_old_keys()
    assert restored == secrets


def test_old_keys_are_refused() -> None:
    with pytest.raises(ProtocolError, match="not of this round"):
        replay_old_keys()
