from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.errors import PolicyError
from sealora_common.storage.file_version import require_version

PATH = Path("site/thing.json")


def require(content: bytes) -> None:
    require_version(PATH, content, 2, "a thing", "make it anew")


@pytest.mark.parametrize("content", [b'{"version": 2}', b'{"version": "1"}', b'{"version": true}', b"[]", b"", b"{"])
def test_its_own_version_and_what_the_reader_will_complain_of_pass(content):
    require(content)


@pytest.mark.parametrize("content", [b"{}", b'{"version": 1}', b'{"version": 0}'])
def test_an_earlier_version_is_refused_with_its_remedy(content):
    with pytest.raises(PolicyError, match=r"site/thing.json: a thing of version [01], from an earlier .*: make it"):
        require(content)


def test_a_later_version_is_refused():
    with pytest.raises(PolicyError, match=r"site/thing.json: a thing of version 3, from a later .*: install that one"):
        require(b'{"version": 3}')


@given(st.binary(max_size=50))
def test_no_bytes_make_it_raise_anything_else(content):
    try:
        require(content)
    except PolicyError:
        assert content.lstrip().startswith(b"{")
