"""Canonical bytes: what is written reads back, what reads was written so, and nothing is taken on its word."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.secagg import ProtocolError
from sealora_common.secagg.wire import Reader, Writer

site_sets = st.lists(st.integers(0, 2**16 - 1), unique=True, max_size=40).map(lambda sites: tuple(sorted(sites)))


@given(number=st.integers(0, 2**40 - 1), fixed=st.binary(min_size=7, max_size=7), text=st.binary(), sites=site_sets)
def test_what_is_written_reads_back(number: int, fixed: bytes, text: bytes, sites: tuple[int, ...]) -> None:
    content = Writer().unsigned(number, 5).fixed(fixed, 7).variable(text).indices(sites).getvalue()
    reader = Reader(content)
    assert (reader.unsigned(5), reader.fixed(7), reader.variable(10_000), reader.indices()) == (
        number,
        fixed,
        text,
        sites,
    )
    reader.finish()


@given(st.binary(max_size=60))
def test_what_reads_was_written_so(content: bytes) -> None:
    reader = Reader(content)
    try:
        number, text, sites = reader.unsigned(2), reader.variable(30), reader.indices()
        reader.finish()
    except ProtocolError:
        return
    assert Writer().unsigned(number, 2).variable(text).indices(sites).getvalue() == content


@pytest.mark.parametrize("sites", [(1, 1), (2, 1), (0, 5, 5), (9, 0)])
def test_sites_out_of_order_or_twice_are_refused(sites: tuple[int, ...]) -> None:
    with pytest.raises(ProtocolError, match="out of order"):
        Reader(Writer().indices(sites).getvalue()).indices()


def test_a_string_over_its_limit_is_refused_before_it_is_read() -> None:
    content = Writer().variable(bytes(101)).getvalue()
    with pytest.raises(ProtocolError, match="longer than it may be"):
        Reader(content).variable(100)
    assert Reader(content).variable(101) == bytes(101)


def test_lengths_that_promise_too_much_allocate_nothing() -> None:
    tracemalloc.start()
    for content, read in (
        (b"\xff\xff\xff\xff", lambda reader: reader.variable(2**32)),
        (b"\xff\xff", lambda reader: reader.indices()),
        (b"", lambda reader: reader.fixed(2**40)),
    ):
        with pytest.raises(ProtocolError, match="cut short"):
            read(Reader(content))  # type: ignore[no-untyped-call]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_trailing_bytes_are_refused() -> None:
    reader = Reader(b"\0\0\0")
    reader.indices()
    with pytest.raises(ProtocolError, match="trailing"):
        reader.finish()


def test_a_writer_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="Expected 4 bytes"):
        Writer().fixed(b"abc", 4)
    with pytest.raises(OverflowError):
        Writer().unsigned(256, 1)
    with pytest.raises(OverflowError):
        Writer().unsigned(-1, 1)
