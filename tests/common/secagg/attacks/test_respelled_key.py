"""One key in two spellings: X25519 ignores the top bit of a key and reduces what is above the field's order.

So a corrupted site could advertise an honest site's X25519 key as its own and no two keys would be alike to the byte.
The rule: a key has one spelling, the reduced one.
"""

from __future__ import annotations

import os

import pytest

from sealora_common.secagg import ProtocolError, keys
from sealora_common.secagg.bodies import Advertisement
from sealora_common.secagg.messages import Kind, bundle
from secagg_weakened import weakened_function

from secagg_attacker import Attacker
from secagg_runs import Federation, Run

FEDERATION = Federation.of(4)
HONEST, CORRUPTED = 0, 3


def respelled(public: bytes) -> bytes:
    """The same X25519 key with its top bit set, under another ML-KEM half."""
    ml_kem, _ = keys.halves(keys.KeyPair(os.urandom(32)).public)
    _, x25519 = keys.halves(public)
    return ml_kem + x25519[:-1] + bytes([x25519[-1] | 0x80])


def advertise_respelled() -> Run:
    """The corrupted site advertises the honest site's X25519 keys; server and sites take what they take."""
    run = Run(FEDERATION)
    run.step("advertise", {CORRUPTED})
    honest = run.sites[HONEST]._own_advertisement()
    copied = Advertisement(respelled(honest.share_public), respelled(honest.mask_public))
    message = Attacker(FEDERATION).signs(CORRUPTED, Kind.ADVERTISE, copied.to_bytes())
    run.deliver("advertise", message)
    run.sites[1].share(bundle([*run.answers["advertise"].values(), message]))
    return run


def test_a_respelled_key_passes_as_another_where_spellings_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    careless = weakened_function(keys._parse, (' or int.from_bytes(x25519, "little") >= _FIELD', ""))
    monkeypatch.setattr(keys, "_parse", careless)
    run = advertise_respelled()
    advertised = [advertisement for advertisement, _ in run.server._advertised.values()]
    private = keys.X25519PrivateKey.from_private_bytes(os.urandom(32))
    agreed = {private.exchange(careless(one.share_public)[1]) for one in advertised}
    assert len(agreed) == 3  # of four sites


def test_a_respelled_key_is_refused_by_the_server() -> None:
    with pytest.raises(ProtocolError, match="every site would refuse"):
        advertise_respelled()


@pytest.mark.parametrize("point", [2**255 - 19 + 9, 2**255 - 1, 9 | 1 << 255, 2**256 - 1])
def test_a_respelled_key_is_refused_by_every_site(point: int) -> None:
    run = Run(FEDERATION)
    run.step("advertise", {CORRUPTED})
    ml_kem, _ = keys.halves(keys.KeyPair(os.urandom(32)).public)
    spelled = Advertisement(keys.KeyPair(os.urandom(32)).public, ml_kem + point.to_bytes(32, "little"))
    message = Attacker(FEDERATION).signs(CORRUPTED, Kind.ADVERTISE, spelled.to_bytes())
    with pytest.raises(ProtocolError, match="unusable"):
        run.sites[HONEST].share(bundle([*run.answers["advertise"].values(), message]))


def test_ml_kem_takes_reduced_coefficients_only() -> None:
    """FIPS 203, section 7.2: the encapsulation key check."""
    ml_kem, x25519 = keys.halves(keys.KeyPair(os.urandom(32)).public)
    assert not keys.is_usable(b"\xff\xff\xff" + ml_kem[3:] + x25519)
    assert keys.is_usable(ml_kem + x25519)
