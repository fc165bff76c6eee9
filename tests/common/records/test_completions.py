from __future__ import annotations

from pathlib import Path

import pytest

from sealora_common.records.completions import Completion, read_completions, write_completions

ONE = Completion(site="a", prompt="Ward é?", reference="3", before="x", after="3")


def test_completions_read_back_and_have_the_bytes_they_always_had(tmp_path: Path) -> None:
    write_completions(tmp_path, [ONE])
    assert (tmp_path / "completions.json").read_text() == (
        '[\n  {\n    "site": "a",\n    "prompt": "Ward é?",\n    "reference": "3",\n    "before": "x",\n'
        '    "after": "3"\n  }\n]'
    )
    assert read_completions(tmp_path) == (ONE,)


@pytest.mark.parametrize("content", [b"", b"{}", b'[{"site": "a"}]', b"[1]", b"\xff"])
def test_a_file_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    assert read_completions(tmp_path) == ()
    (tmp_path / "completions.json").write_bytes(content)
    assert read_completions(tmp_path) == ()
