"""A registered key's signature over a time that is near and new, whatever the request; and strangers leave nothing."""

from __future__ import annotations

import datetime
from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from fleet_bench import FleetBench, Headers, signed
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE
from flwr.proto.fleet_pb2 import DeactivateNodeRequest, PullMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from hypothesis import given
from hypothesis import strategies as st

from sealora_server.deployment.superlink import node_auth
from sealora_server.deployment.superlink.node_auth import (
    LONGEST_SECONDS,
    NodeAuthentication,
    UnauthenticatedError,
    UnknownKeyError,
)
from sealora_server.deployment.superlink.quotas import OverQuotaError

OWN, OTHER, STRANGER = (generate_private_key(SECP384R1()) for _ in range(3))
REGISTERED = {public_key_to_bytes(OWN.public_key()): 7, public_key_to_bytes(OTHER.public_key()): 8}
# P-384's order: with (r, s) also (r, N - s) is a signature.
ORDER = int("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)


def authentication(clock: list[float] | None = None) -> NodeAuthentication:
    return NodeAuthentication(REGISTERED.get, 5, clock=lambda: 0.0 if clock is None else clock[0])


def at(seconds: float = 0.0) -> str:
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).isoformat()


def changed(headers: Headers, index: int, value: bytes) -> Headers:
    return [(name, value if number == index else old) for number, (name, old) in enumerate(headers)]


def refused(authenticated: NodeAuthentication, headers: Headers) -> bool:
    try:
        authenticated.node(headers)
    except UnauthenticatedError:
        return True
    return False


def test_a_registered_node_is_known_by_its_signed_time_and_once() -> None:
    authenticated = authentication()
    headers = signed(OWN, at())
    assert authenticated.node(headers) == (7, public_key_to_bytes(OWN.public_key()))
    assert refused(authenticated, headers)
    assert authenticated.node(signed(OTHER, headers[2][1].decode()))[0] == 8  # a time of its own
    assert authenticated.node([(name.upper(), value) for name, value in signed(OWN, at())])[0] == 7


def test_another_signature_of_the_same_time_is_a_repetition() -> None:
    """Of one ECDSA signature anybody makes a second; and the node's key makes as many as it likes."""
    authenticated = authentication()
    signed_at = at()
    headers = signed(OWN, signed_at)
    authenticated.node(headers)
    assert refused(authenticated, signed(OWN, signed_at))
    r, s = decode_dss_signature(b64decode(headers[1][1]))
    mirrored = changed(headers, 1, b64encode(encode_dss_signature(r, ORDER - s)))
    assert refused(authenticated, mirrored)
    assert not refused(authentication(), mirrored)


@pytest.mark.parametrize("index", range(3))
def test_a_header_that_is_missing_or_comes_twice_is_refused(index: int) -> None:
    headers = signed(OWN, at())
    assert refused(authentication(), [header for number, header in enumerate(headers) if number != index])
    assert refused(authentication(), [*headers, headers[index]])
    assert refused(authentication(), [*headers, (headers[index][0].upper(), b"")])


def test_an_unknown_key_is_told_apart_and_another_s_signature_is_not() -> None:
    with pytest.raises(UnknownKeyError):
        authentication().node(signed(STRANGER, at()))
    authenticated = authentication()
    headers = signed(OWN, at())
    for key in (STRANGER, OTHER):
        forged = changed(headers, 1, signed(key, headers[2][1].decode())[1][1])
        with pytest.raises(UnauthenticatedError) as caught:
            authenticated.node(forged)
        assert not isinstance(caught.value, UnknownKeyError)
    assert not refused(authenticated, headers)  # the forgeries did not use its time up


def test_a_time_that_is_too_far_away_is_refused() -> None:
    past, future = TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE, SYSTEM_TIME_TOLERANCE
    for seconds, taken in ((-past - 1, False), (-past + 5, True), (future + 5, False), (future - 1, True)):
        assert refused(authentication(), signed(OWN, at(seconds))) is not taken, seconds


@pytest.mark.parametrize("index", [0, 1])
def test_base64_in_another_spelling_is_the_same_or_refused(index: int) -> None:
    authenticated = authentication()
    headers = signed(OWN, at())
    value = headers[index][1]
    for spelling in (value + b"=", value + b"\n", b" " + value, value[:5] + b" " + value[5:], value[:-4]):
        assert refused(authenticated, changed(headers, index, spelling))
    authenticated.node(headers)
    assert refused(authenticated, headers)


@given(
    st.sampled_from(range(3)),
    st.one_of(st.binary(max_size=200), st.datetimes().map(lambda each: each.isoformat().encode())),
)
def test_whatever_stands_in_a_header_is_refused_and_leaves_nothing(index: int, value: bytes) -> None:
    authenticated = authentication()
    assert refused(authenticated, changed(signed(OWN, at()), index, value))
    assert not authenticated._seen


def test_strangers_leave_nothing_behind() -> None:
    authenticated = authentication()
    headers = signed(OWN, at())
    for number in range(200):
        assert refused(authenticated, changed(headers, 0, b64encode(b"key %d" % number)))
        assert refused(authenticated, changed(headers, 1, b64encode(b"signature %d" % number)))
        assert refused(authenticated, changed(headers, 2, b"%d" % number))
    assert not authenticated._seen
    assert node_auth._parsed.cache_info().currsize <= len(REGISTERED) * 50


def test_what_was_signed_is_remembered_for_as_long_as_it_could_be_taken_and_no_longer() -> None:
    assert LONGEST_SECONDS == TIMESTAMP_TOLERANCE + 2 * SYSTEM_TIME_TOLERANCE
    clock = [0.0]
    authenticated = authentication(clock)
    first = signed(OWN, at())
    authenticated.node(first)
    for clock[0] in (1.0, LONGEST_SECONDS):
        authenticated.node(signed(OWN, at()))
        assert refused(authenticated, first)
    assert len(authenticated._seen[7]) == 3
    clock[0] += 1.5
    authenticated.node(signed(OWN, at()))
    assert len(authenticated._seen[7]) == 2


def test_a_node_that_signs_without_end_fills_no_memory_and_holds_up_no_other() -> None:
    clock = [0.0]
    authenticated = authentication(clock)
    for _ in range(5):
        authenticated.node(signed(OWN, at()))
    for _ in range(20):
        with pytest.raises(OverQuotaError):
            authenticated.node(signed(OWN, at()))
    assert len(authenticated._seen[7]) == 5
    authenticated.node(signed(OTHER, at()))
    clock[0] = LONGEST_SECONDS + 1
    authenticated.node(signed(OWN, at()))


@pytest.mark.parametrize(
    ("action", "body", "more", "status"),
    [
        ("pull-messages", None, [], 200),
        ("pull-messages", b"\xff", [], 400),
        ("pull-messages", b"", [], 401),
        ("pull-messages", b"", [(b"content-type", b"text/plain")], 415),
        ("pull-messages", bytes(100_000), [], 413),
        ("push-messages", None, [], 403),
    ],
)
def test_a_signed_time_counts_whatever_the_answer_was(
    action: str, body: bytes | None, more: Headers, status: int
) -> None:
    bench = FleetBench()
    node = bench.node()
    signed_at = datetime.datetime.now(datetime.UTC).isoformat()
    bench.signed = lambda node, _=None: signed(bench.keys[node], signed_at)  # type: ignore[method-assign]
    asked = PullMessagesRequest(node=Node(node_id=node)).SerializeToString() if body is None else body
    assert bench.ask(action, asked, node, more).status == status
    goodbye = DeactivateNodeRequest(node_id=node)
    assert bench.ask("deactivate-node", goodbye, node).status == 401
    assert bench.state.get_node_info(node_ids=[node])[0].status == "online"
