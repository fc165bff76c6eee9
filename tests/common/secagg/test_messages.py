"""Messages: one encoding each, and signatures that hold for one kind, round and sender."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.secagg import ProtocolError
from sealora_common.secagg.bodies import (
    Advertisement,
    Envelopes,
    MaskRequest,
    MaskStatement,
    Opening,
    ShareKind,
    SharePair,
    Survivors,
    transcript_digest,
)
from sealora_common.secagg.messages import Kind, bundle, open_signed, sign, unbundle

from secagg_runs import Federation

site = st.integers(0, 2**16 - 1)
bytes32 = st.binary(min_size=32, max_size=32)
site_sets = st.lists(site, unique=True, max_size=20).map(lambda sites: tuple(sorted(sites)))
envelopes = st.builds(Envelopes, st.dictionaries(site, st.binary(max_size=80), max_size=8))
MESSAGES = st.one_of(
    st.builds(Advertisement, bytes32, bytes32),
    st.builds(SharePair, site, bytes32, bytes32, site, site_sets),
    envelopes,
    st.builds(MaskRequest, site_sets, envelopes),
    st.builds(MaskStatement, bytes32, bytes32),
    st.builds(Survivors, bytes32, site_sets),
    st.builds(Opening, st.dictionaries(site, st.tuples(st.sampled_from(ShareKind), site, bytes32), max_size=8)),
)
FEDERATION = Federation.of(4)


@given(MESSAGES)
def test_a_message_reads_back(message: Advertisement) -> None:
    assert type(message).from_bytes(message.to_bytes()) == message


@given(MESSAGES, st.data())
def test_a_message_with_a_byte_more_or_less_is_refused(message: Advertisement, data: st.DataObject) -> None:
    content = message.to_bytes()
    with pytest.raises(ProtocolError):
        type(message).from_bytes(content + b"\0")
    with pytest.raises(ProtocolError):
        type(message).from_bytes(content[: data.draw(st.integers(0, len(content) - 1))])


@given(st.lists(st.binary(max_size=50), max_size=6))
def test_a_bundle_reads_back(messages: list[bytes]) -> None:
    assert unbundle(bundle(messages), limit=6, message_limit=50) == messages


def test_a_bundle_over_its_limits_is_refused() -> None:
    with pytest.raises(ProtocolError, match="more messages than there are sites"):
        unbundle(bundle([b""] * 5), limit=4, message_limit=10)
    with pytest.raises(ProtocolError, match="longer than it may be"):
        unbundle(bundle([bytes(11)]), limit=4, message_limit=10)


def test_the_largest_honest_messages_fit_their_limits() -> None:
    everyone = tuple(range(1000))
    confirmation = sign(
        Kind.CONFIRM, Survivors(bytes(32), everyone).to_bytes(), FEDERATION.terms, FEDERATION.identity(0), 0
    )
    assert unbundle(bundle([confirmation]), limit=1, message_limit=8192) == [confirmation]
    pair = SharePair(999, bytes(32), bytes(32), 667, everyone[:-1]).to_bytes() + bytes(16)
    assert Envelopes.from_bytes(Envelopes({0: pair}).to_bytes()).ciphertexts == {0: pair}


@pytest.mark.parametrize("kind", Kind)
def test_a_signed_message_opens_as_its_own_kind_only(kind: Kind) -> None:
    message = sign(kind, b"body", FEDERATION.terms, FEDERATION.identity(2), 2)
    assert open_signed(message, kind, FEDERATION.terms, FEDERATION.roster) == (2, b"body")
    for other in set(Kind) - {kind}:
        with pytest.raises(ProtocolError, match="not of this round"):
            open_signed(message, other, FEDERATION.terms, FEDERATION.roster)


@pytest.mark.parametrize("claimed", [0, 1, 3, 4, 65535])
def test_a_message_signed_by_another_site_is_refused(claimed: int) -> None:
    message = sign(Kind.OPEN, b"body", FEDERATION.terms, FEDERATION.identity(2), claimed)
    with pytest.raises(ProtocolError, match="not signed by a site"):
        open_signed(message, Kind.OPEN, FEDERATION.terms, FEDERATION.roster)


def test_another_version_is_refused() -> None:
    message = bytearray(sign(Kind.OPEN, b"body", FEDERATION.terms, FEDERATION.identity(2), 2))
    message[4] += 1
    with pytest.raises(ProtocolError, match="version must be the same"):
        open_signed(bytes(message), Kind.OPEN, FEDERATION.terms, FEDERATION.roster)


@pytest.mark.parametrize("kind", [0, 3, 255])
def test_an_unknown_kind_of_share_is_refused(kind: int) -> None:
    body = bytearray(Opening({1: (ShareKind.SELF_MASK, 2, bytes(32))}).to_bytes())
    body[4] = kind
    with pytest.raises(ProtocolError, match="unknown kind of share"):
        Opening.from_bytes(bytes(body))


def test_the_transcript_covers_every_key_and_every_sharer() -> None:
    keys = {index: Advertisement(bytes([index]) * 32, bytes([index + 100]) * 32) for index in range(4)}
    swapped = keys | {2: Advertisement(keys[2].mask_public, keys[2].share_public)}
    renamed = {index: keys[index] for index in range(3)} | {5: keys[3]}
    digests = {
        transcript_digest(keys, (0, 1, 2, 3)),
        transcript_digest(keys, (0, 1, 2)),
        transcript_digest(keys, ()),
        transcript_digest({index: keys[index] for index in range(3)}, (0, 1, 2)),
        transcript_digest(swapped, (0, 1, 2, 3)),
        transcript_digest(renamed, (0, 1, 2, 3)),
    }
    assert len(digests) == 6
    assert transcript_digest(dict(reversed(keys.items())), (0, 1)) == transcript_digest(keys, (0, 1))
