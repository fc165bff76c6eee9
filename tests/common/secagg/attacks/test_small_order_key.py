"""Small-order keys: a corrupted site advertises an X25519 key whose every multiple is zero, or nearly.

A secret agreed with it is known to all, and nothing but ML-KEM would be left of what is sealed to that site; a sealer
that refuses it loses the round. The rule (RFC 7748, section 6.1): such a key is refused, by every site, and by the
server, so that it costs one site and not the round.
"""

from __future__ import annotations

import os

import pytest

from sealora_common.errors import FederationError
from sealora_common.secagg import ProtocolError, ServerSession, keys
from sealora_common.secagg.bodies import Advertisement
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.messages import Kind, bundle
from secagg_weakened import weakened

from secagg_attacker import Attacker, plan_draws
from secagg_runs import STAGES, Federation, Run, same

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


def with_x25519(point: int) -> bytes:
    """A public key whose ML-KEM half is good."""
    ml_kem, _ = keys.halves(keys.KeyPair(os.urandom(32)).public)
    return ml_kem + point.to_bytes(32, "little")


def crafted(point: int, place: str) -> bytes:
    """A corrupted site's advertisement with such a key in one of its places."""
    bad, good = with_x25519(point), keys.KeyPair(os.urandom(32)).public
    advertised = Advertisement(bad, good) if place == "share" else Advertisement(good, bad)
    return Attacker(FEDERATION).signs(CORRUPTED, Kind.ADVERTISE, advertised.to_bytes())


def run_with(point: int, place: str, server_class: type[ServerSession]) -> Run:
    run = Run(FEDERATION)
    run.server = server_class(FEDERATION.terms, FEDERATION.roster)
    run.step("advertise", {CORRUPTED})
    run.deliver("advertise", crafted(point, place))
    return run


@pytest.mark.parametrize("place", ["share", "mask"])
def test_a_small_order_key_costs_everybody_the_round_where_the_server_takes_it(place: str) -> None:
    careless = weakened(ServerSession, add_advertisement=(" or not advertisement.is_usable", ""))
    run = run_with(1, place, careless)
    refused = []
    for index, request in run.close("share").items():
        if index != CORRUPTED:
            with pytest.raises(FederationError, match="unusable"):
                run.answer("share", index, request)
            refused.append(index)
    assert refused == [0, 1, 2]


@pytest.mark.parametrize("place", ["share", "mask"])
def test_a_small_order_key_costs_its_site_and_not_the_round(place: str) -> None:
    with pytest.raises(ProtocolError, match="every site would refuse"):
        run_with(1, place, ServerSession)
    run = Run(FEDERATION)
    run.step("advertise", {CORRUPTED})
    for stage in STAGES[1:]:
        run.step(stage)
    opened = run.server.open()
    assert opened.survivors == (0, 1, 2)
    assert same(opened.vector, run.expected((0, 1, 2)))


@pytest.mark.parametrize("point", SMALL_ORDER)
@pytest.mark.parametrize("place", ["share", "mask"])
def test_a_small_order_key_is_refused_by_every_site(point: int, place: str) -> None:
    run = Run(FEDERATION)
    run.step("advertise", {CORRUPTED})
    with pytest.raises(ProtocolError, match="unusable"):
        run.sites[0].share(bundle([*run.answers["advertise"].values(), crafted(point, place)]))


def test_a_small_order_key_is_refused_by_a_site_that_did_not_draw_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """It seals nothing to that key, so no sealing refuses it."""
    sparse = Federation.of(4, small_graph=Neighbourhood(2, 2))
    plan_draws(monkeypatch, 4, {0: (1, 2)})
    run = Run(sparse)
    run.step("advertise", {CORRUPTED})
    bad = Advertisement(with_x25519(1), keys.KeyPair(os.urandom(32)).public)
    message = Attacker(sparse).signs(CORRUPTED, Kind.ADVERTISE, bad.to_bytes())
    with pytest.raises(ProtocolError, match="unusable"):
        run.sites[0].share(bundle([*run.answers["advertise"].values(), message]))


@pytest.mark.parametrize("point", SMALL_ORDER)
@pytest.mark.parametrize("high_bit", [0, 1])
def test_nothing_is_sealed_to_a_point_of_small_order(point: int, high_bit: int) -> None:
    public = with_x25519(point | high_bit << 255)
    assert not keys.is_usable(public)
    with pytest.raises(ProtocolError, match="unusable"):
        keys.seal(bytes(32), public, b"")


def test_ordinary_keys_are_usable() -> None:
    assert all(keys.is_usable(keys.KeyPair(os.urandom(32)).public) for _ in range(50))
    assert keys.is_usable(with_x25519(9))
