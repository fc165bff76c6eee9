"""Whatever is wrong with a file, all of it is told at once, each in a sentence with its place; nothing is skipped."""

from __future__ import annotations

import re

import pytest

from sealora_client.data.records import read_records
from sealora_client.data.source.problems import sentences_of
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection

from broken_files import BROKEN


def test_there_are_many():
    assert len(BROKEN) >= 60


@pytest.mark.parametrize("case", BROKEN)
def test_all_that_is_wrong_is_told_at_once(case, tmp_path):
    broken = BROKEN[case]
    path = tmp_path / broken.file
    broken.build(path)
    with pytest.raises(DataError) as raised:
        read_records(path, DataSection())
    said = sentences_of(raised.value)
    assert len(said) == len(broken.said), said
    for pattern, sentence in zip(broken.said, said, strict=True):
        assert re.search(pattern, sentence), sentence
        assert sentence.isprintable()
        assert str(tmp_path) in sentence or sentence.startswith("and ")
        assert "hush" not in sentence
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) <= 4000
