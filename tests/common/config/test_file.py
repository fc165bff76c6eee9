from __future__ import annotations

import io
import os
import threading
import tracemalloc

import pytest

from sealora_common.config import read_file, read_line, read_stream
from sealora_common.errors import UnreadableError


@pytest.mark.parametrize("size", [0, 1, 9, 10])
def test_a_file_within_the_bound_is_read_whole(tmp_path, size):
    (tmp_path / "a").write_bytes(b"x" * size)
    assert read_file(tmp_path / "a", 10) == b"x" * size


def test_a_larger_file_is_refused_without_being_read(tmp_path):
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2**40)
    tracemalloc.start()
    with pytest.raises(UnreadableError, match="larger than 1 MiB, the most that is read"):
        read_file(tmp_path / "a", 2**20)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_what_has_no_size_or_no_end_is_read_up_to_the_bound(tmp_path):
    assert read_file(tmp_path.__class__("/proc/self/status"), 2**16).startswith(b"Name:")
    with pytest.raises(UnreadableError, match="larger than 64 KiB"):
        read_file(tmp_path.__class__("/dev/zero"), 2**16)


def test_a_pipe_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(b"abc"), daemon=True)
    writer.start()
    assert read_file(tmp_path / "pipe", 3) == b"abc"
    writer.join()


def test_a_stream_and_a_line_are_bounded():
    assert read_stream(io.BytesIO(b"abc"), 3) == b"abc"
    with pytest.raises(UnreadableError):
        read_stream(io.BytesIO(b"abcd"), 3)
    lines = io.BytesIO(b"ab\nabc\nx")
    assert read_line(lines, 3) == b"ab\n"
    with pytest.raises(UnreadableError):
        read_line(lines, 3)
    assert read_line(io.BytesIO(b""), 3) == b""
