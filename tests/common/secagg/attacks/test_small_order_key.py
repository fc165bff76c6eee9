"""Small-order keys: a corrupted site advertises a point whose every multiple is zero, or nearly.

Whoever listens then knows the key of the shares sent to it, without any private key. The rule (RFC 7748, section 6.1):
an all-zero shared secret is refused, by every site and, so that it costs one site and not the round, by the server.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from sealora_common.secagg import ProtocolError, keys
from sealora_common.secagg.messages import Advertisement, Envelopes, Kind, SharePair, bundle, open_signed

from secagg_attacker import Attacker
from secagg_runs import Federation, Run

FEDERATION = Federation.of(4)
CORRUPTED = 3
P = 2**255 - 19
SMALL_ORDER = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,  # order 8
    39382357235489614581723060781553021112529911719440698176882885853963445705823,  # order 8
    P - 1,
    P,
    P + 1,
]
"""The u-coordinates below 2^255 of points of small order, on the curve and on its twist (cr.yp.to/ecdh.html)."""


def low(point: int) -> bytes:
    return point.to_bytes(32, "little")


def share_with(advertised: Advertisement) -> bytes:
    """An honest site's shares, where the corrupted site advertised these keys."""
    run = Run(FEDERATION)
    run.step("advertise", {CORRUPTED})
    crafted = Attacker(FEDERATION).signs(CORRUPTED, Kind.ADVERTISE, advertised.to_bytes())
    return run.sites[0].share(bundle([*run.answers["advertise"].values(), crafted]))


def test_anyone_reads_a_share_where_a_zero_secret_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    agree = keys._agree

    def careless(*pair: Any) -> bytes:
        try:
            return agree(*pair)
        except ProtocolError:
            return bytes(32)

    monkeypatch.setattr(keys, "_agree", careless)
    message = share_with(Advertisement(low(1), keys.public_key(os.urandom(32))))
    _, body = open_signed(message, Kind.SHARE, FEDERATION.terms, FEDERATION.roster)
    digest = FEDERATION.terms.digest
    guessed = keys._derive(bytes(32), digest, b"share encryption" + bytes([0, 0, 0, CORRUPTED]))
    plain = ChaCha20Poly1305(guessed).decrypt(
        bytes(12), Envelopes.from_bytes(body).ciphertexts[CORRUPTED], digest + bytes([0, 0, 0, CORRUPTED])
    )
    assert SharePair.from_bytes(plain).neighbours == (1, 2, 3)


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_small_order_share_key_is_refused(point: int) -> None:
    with pytest.raises(ProtocolError, match="unusable"):
        share_with(Advertisement(low(point), keys.public_key(os.urandom(32))))


@pytest.mark.parametrize("point", SMALL_ORDER)
@pytest.mark.parametrize("high_bit", [0, 1])
def test_no_secret_is_agreed_with_a_point_of_small_order(point: int, high_bit: int) -> None:
    public = low(point | high_bit << 255)
    assert not keys.is_usable(public)
    with pytest.raises(ProtocolError, match="unusable"):
        keys.mask_key(os.urandom(32), public, 0, 1, bytes(32))


def test_ordinary_keys_are_usable() -> None:
    assert all(keys.is_usable(keys.public_key(os.urandom(32))) for _ in range(200))
    assert keys.is_usable(low(9))


@pytest.mark.parametrize("place", ["share", "mask"])
def test_a_small_order_key_costs_its_site_and_not_the_round(place: str) -> None:
    run = Run(FEDERATION)
    run.step("advertise", {CORRUPTED})
    good = keys.public_key(os.urandom(32))
    advertised = Advertisement(low(1), good) if place == "share" else Advertisement(good, low(1))
    with pytest.raises(ProtocolError, match="every site would refuse"):
        run.deliver("advertise", Attacker(FEDERATION).signs(CORRUPTED, Kind.ADVERTISE, advertised.to_bytes()))
    for stage in ("share", "mask", "confirm", "open"):
        run.step(stage)
    assert run.server.open().survivors == (0, 1, 2)
