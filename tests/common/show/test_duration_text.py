from __future__ import annotations

import pytest

from sealora_common.show.duration_text import duration_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (0, "0 s"),
        (0.254, "0.25 s"),
        (4.2, "4.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (364, "6 min 04 s"),
        (3599.7, "1 h 00 min"),
        (8100, "2 h 15 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_a_duration_reads_alike_everywhere(seconds, text):
    assert duration_text(seconds) == text
