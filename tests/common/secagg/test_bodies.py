"""Bodies of messages and what the server relays: one encoding each, bounds that every honest message keeps to, and no
byte that says nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.roster import Roster
from sealora_common.secagg import ProtocolError
from sealora_common.secagg.bodies import (
    ADVERTISEMENT_LIMIT,
    CHECK_LIMIT,
    DISCLOSURE_LIMIT,
    MASK_STATEMENT_BYTES,
    MOST_SITES,
    STATEMENT_LIMIT,
    SURVIVORS_LIMIT,
    Advertisement,
    CheckRequest,
    CheckStatement,
    Committed,
    Disclosure,
    Envelope,
    Given,
    MaskRequest,
    MaskStatement,
    Opening,
    ShareKind,
    ShareMessage,
    ShareStatement,
    Survivors,
    split_masked,
)
from sealora_common.secagg.messages import signed_bytes
from sealora_common.secagg.transcript import Shared

site = st.integers(0, 2**16 - 1)
bytes32 = st.binary(min_size=32, max_size=32)
site_sets = st.lists(site, unique=True, max_size=8).map(lambda sites: tuple(sorted(sites)))
signed = st.binary(max_size=60)
public_key = bytes32.map(lambda each: each * 38)
committed = st.builds(Committed, bytes32, bytes32, bytes32)
given_to = st.builds(Given, bytes32, bytes32, bytes32)
envelope = st.builds(
    Envelope, bytes32.map(lambda each: each * 37 + bytes(16)), bytes32.map(lambda each: each * 36 + bytes(16))
)


def by_site(values: st.SearchStrategy[Any], most: int = 4) -> st.SearchStrategy[dict[int, Any]]:
    return st.dictionaries(site, values, max_size=most)


@st.composite
def statements(draw: st.DrawFn) -> ShareStatement:
    neighbours = draw(site_sets)
    envelopes, gave = (
        tuple(draw(st.lists(each, min_size=len(neighbours), max_size=len(neighbours)))) for each in (bytes32, committed)
    )
    return ShareStatement(draw(bytes32), draw(bytes32), neighbours, envelopes, gave)


@st.composite
def tables(draw: st.DrawFn) -> dict[int, Shared]:
    told = draw(by_site(st.tuples(bytes32, site_sets)))
    return {
        owner: Shared(statement, tuple(other for other in neighbours if other != owner))
        for owner, (statement, neighbours) in told.items()
    }


BODIES: dict[type, st.SearchStrategy[Any]] = {
    Advertisement: st.builds(Advertisement, public_key, public_key),
    ShareStatement: statements(),
    ShareMessage: st.builds(ShareMessage, signed, by_site(envelope, 2)),
    CheckRequest: st.builds(CheckRequest, tables(), by_site(st.tuples(signed, envelope), 2)),
    CheckStatement: st.builds(CheckStatement, bytes32, site_sets),
    Disclosure: st.builds(Disclosure, bytes32, by_site(given_to)),
    MaskRequest: st.builds(MaskRequest, st.lists(signed, max_size=4), st.lists(signed, max_size=4)),
    MaskStatement: st.builds(MaskStatement, bytes32, bytes32),
    Survivors: st.builds(Survivors, bytes32, site_sets),
    Opening: st.builds(Opening, bytes32, bytes32, by_site(st.tuples(st.sampled_from(ShareKind), bytes32))),
}
READERS: dict[type, Callable[[bytes], Any]] = {
    body: partial(MaskRequest.from_bytes, limit=4) if body is MaskRequest else body.from_bytes  # type: ignore[attr-defined]
    for body in BODIES
}
every_body = pytest.mark.parametrize("body", BODIES, ids=lambda body: str(body.__name__))


@every_body
@settings(max_examples=40)
@given(data=st.data())
def test_a_body_reads_back(body: type, data: st.DataObject) -> None:
    message = data.draw(BODIES[body])
    assert READERS[body](message.to_bytes()) == message


@every_body
@settings(max_examples=40)
@given(data=st.data())
def test_a_body_with_a_byte_more_or_less_is_refused(body: type, data: st.DataObject) -> None:
    content = data.draw(BODIES[body]).to_bytes()
    with pytest.raises(ProtocolError):
        READERS[body](content + b"\0")
    with pytest.raises(ProtocolError):
        READERS[body](content[: data.draw(st.integers(0, len(content) - 1))])


@every_body
@settings(max_examples=100)
@given(data=st.data())
def test_an_altered_byte_is_refused_or_says_something_else(body: type, data: st.DataObject) -> None:
    message = data.draw(BODIES[body])
    altered = bytearray(message.to_bytes())
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = READERS[body](bytes(altered))
    except ProtocolError:
        return
    assert read != message
    assert read.to_bytes() == bytes(altered)


# --- bounds


def test_bounds_are_those_of_the_largest_roster() -> None:
    field = Roster.model_fields["members"]
    assert [constraint.max_length for constraint in field.metadata if hasattr(constraint, "max_length")] == [MOST_SITES]


def test_the_largest_honest_messages_fit_their_limits() -> None:
    everyone = tuple(range(MOST_SITES))
    others = everyone[1:]
    commitments = Committed(bytes(32), bytes(32), bytes(32))
    statement = ShareStatement(bytes(32), bytes(32), others, (bytes(32),) * len(others), (commitments,) * len(others))
    given_to_all = dict.fromkeys(others, Given(bytes(32), bytes(32), bytes(32)))
    for body, limit in (
        (Advertisement(bytes(1216), bytes(1216)), ADVERTISEMENT_LIMIT),
        (statement, STATEMENT_LIMIT),
        (CheckStatement(bytes(32), others), CHECK_LIMIT),
        (Disclosure(bytes(32), given_to_all), DISCLOSURE_LIMIT),
        (MaskStatement(bytes(32), bytes(32)), MASK_STATEMENT_BYTES),
        (Survivors(bytes(32), everyone), SURVIVORS_LIMIT),
    ):
        assert signed_bytes(len(body.to_bytes())) <= limit  # type: ignore[attr-defined]


@pytest.mark.parametrize("limit", [CHECK_LIMIT, DISCLOSURE_LIMIT], ids=["checks", "disclosures"])
def test_a_mask_request_with_a_message_over_its_limit_is_refused(limit: int) -> None:
    for length, refused in ((limit, False), (limit + 1, True)):
        lists = ([bytes(length)], []) if limit == CHECK_LIMIT else ([], [bytes(length)])
        content = MaskRequest(*lists).to_bytes()
        if refused:
            with pytest.raises(ProtocolError, match="longer than it may be"):
                MaskRequest.from_bytes(content, limit=4)
        else:
            assert MaskRequest.from_bytes(content, limit=4) == MaskRequest(*lists)


def test_a_mask_request_of_more_messages_than_sites_is_refused() -> None:
    for lists in (([b""] * 5, []), ([], [b""] * 5)):
        with pytest.raises(ProtocolError, match="more messages than there are sites"):
            MaskRequest.from_bytes(MaskRequest(*lists).to_bytes(), limit=4)


@pytest.mark.parametrize("body", [ShareMessage, CheckRequest], ids=lambda body: str(body.__name__))
def test_a_statement_over_its_limit_is_refused(body: type) -> None:
    long = bytes(STATEMENT_LIMIT + 1)
    one = Envelope(bytes(1200), bytes(1168))
    message: Any = ShareMessage(long, {}) if body is ShareMessage else CheckRequest({}, {1: (long, one)})
    with pytest.raises(ProtocolError, match="longer than it may be"):
        READERS[body](message.to_bytes())


# --- what single bodies promise


@pytest.mark.parametrize("kind", [0, 3, 255])
def test_an_unknown_kind_of_share_is_refused(kind: int) -> None:
    body = bytearray(Opening(bytes(32), bytes(32), {1: (ShareKind.SELF_MASK, bytes(32))}).to_bytes())
    assert body[68] == ShareKind.SELF_MASK
    body[68] = kind
    with pytest.raises(ProtocolError, match="unknown kind of share"):
        Opening.from_bytes(bytes(body))


def test_a_statement_speaks_of_its_neighbours_alone() -> None:
    one, other = (Committed(*(bytes([place]) * 32 for place in range(start, start + 3))) for start in (10, 20))
    statement = ShareStatement(bytes(32), bytes(32), (3, 7), (b"\1" * 32, b"\2" * 32), (one, other))
    assert statement.of(3) == (b"\1" * 32, one)
    assert statement.of(7) == (b"\2" * 32, other)
    for stranger in (0, 5, 8):
        with pytest.raises(ValueError, match="not in tuple"):
            statement.of(stranger)


def test_commitments_tell_shares_holders_and_owners_apart() -> None:
    given_alike = Given(bytes(32), bytes(32), bytes(32))
    made = [
        given_alike.commitments(*pair, terms) for pair in ((1, 2), (2, 1), (1, 3)) for terms in (bytes(32), b"\1" * 32)
    ]
    values = [value for each in made for value in (each.self_mask, each.mask_seed, each.contribution)]
    assert len(set(values)) == 18


def test_a_masked_message_parts_into_statement_and_vector() -> None:
    statement, vector = bytes(MASK_STATEMENT_BYTES), b"vector"
    assert split_masked(statement + vector) == (statement, vector)
