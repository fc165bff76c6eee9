from __future__ import annotations

from sealora_common.show.size_text import size_text


def test_sizes_are_told_in_binary_units() -> None:
    sizes = (2**16, 2**20 - 2**10, 2**24, 3 * 2**29, 2**36)
    assert [size_text(size) for size in sizes] == ["64 KiB", "1023 KiB", "16 MiB", "1.5 GiB", "64.0 GiB"]
