"""The frame of signed messages: signatures hold for one kind, round, version and sender; bundles keep to bounds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.identity import SIGNATURE_BYTES
from sealora_common.secagg import ProtocolError
from sealora_common.secagg.messages import Kind, bundle, content_digest, open_signed, sign, signed_bytes, unbundle

from secagg_runs import Federation

FEDERATION = Federation.of(4)
BODY = b"the body of a message"


def signed(kind: Kind = Kind.OPEN, body: bytes = BODY, claimed: int = 2) -> bytes:
    """A message signed by site 2."""
    return sign(kind, body, FEDERATION.terms, FEDERATION.identity(2), claimed)


def opened(message: bytes, kind: Kind = Kind.OPEN) -> tuple[int, bytes]:
    return open_signed(message, kind, FEDERATION.terms, FEDERATION.roster)


MESSAGE = signed()


@pytest.mark.parametrize("kind", Kind)
def test_a_signed_message_opens_as_its_own_kind_only(kind: Kind) -> None:
    message = signed(kind)
    assert opened(message, kind) == (2, BODY)
    for other in set(Kind) - {kind}:
        with pytest.raises(ProtocolError, match="not of this round"):
            opened(message, other)


@pytest.mark.parametrize("claimed", [0, 1, 3, 4, 65535])
def test_a_message_signed_by_another_site_is_refused(claimed: int) -> None:
    with pytest.raises(ProtocolError, match="not signed by a site"):
        opened(signed(claimed=claimed))


def test_another_version_is_refused() -> None:
    message = bytearray(MESSAGE)
    message[4] -= 1
    with pytest.raises(ProtocolError, match="version must be the same"):
        opened(bytes(message))


@pytest.mark.parametrize("changes", [{"round_number": 2}, {"attempt": 2}, {"run": bytes(16)}, {"sessions": 2}])
def test_a_message_of_another_round_is_refused(changes: dict[str, object]) -> None:
    elsewhere = FEDERATION.with_terms(**changes)
    message = sign(Kind.OPEN, BODY, elsewhere.terms, FEDERATION.identity(2), 2)
    with pytest.raises(ProtocolError, match="not of this round"):
        opened(message)


@settings(max_examples=150)
@given(st.integers(0, len(MESSAGE) - 1), st.integers(1, 255))
def test_an_altered_byte_anywhere_is_refused(place: int, change: int) -> None:
    altered = bytearray(MESSAGE)
    altered[place] ^= change
    with pytest.raises(ProtocolError):
        opened(bytes(altered))


@given(st.integers(0, len(MESSAGE) - 1))
def test_a_message_cut_short_is_refused(length: int) -> None:
    with pytest.raises(ProtocolError):
        opened(MESSAGE[:length])


def test_a_message_has_the_length_that_was_said() -> None:
    for length in (0, 1, 1000):
        assert len(signed(body=bytes(length))) == signed_bytes(length)


def test_the_digest_of_a_content_leaves_out_the_signature() -> None:
    resigned = MESSAGE[:-SIGNATURE_BYTES] + bytes(SIGNATURE_BYTES)
    assert content_digest(resigned) == content_digest(MESSAGE)
    assert content_digest(signed(body=BODY + b"!")) != content_digest(MESSAGE)
    assert content_digest(signed(kind=Kind.MASK)) != content_digest(MESSAGE)
    assert content_digest(signed(claimed=1)) != content_digest(MESSAGE)


@given(st.lists(st.binary(max_size=50), max_size=6))
def test_a_bundle_reads_back(messages: list[bytes]) -> None:
    assert unbundle(bundle(messages), limit=6, message_limit=50) == messages


def test_a_bundle_over_its_limits_is_refused() -> None:
    with pytest.raises(ProtocolError, match="more messages than there are sites"):
        unbundle(bundle([b""] * 5), limit=4, message_limit=10)
    with pytest.raises(ProtocolError, match="longer than it may be"):
        unbundle(bundle([bytes(11)]), limit=4, message_limit=10)
    with pytest.raises(ProtocolError, match="trailing"):
        unbundle(bundle([bytes(10)]) + b"\0", limit=4, message_limit=10)
