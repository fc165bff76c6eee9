"""What lies in a file is what was put in, and the file is nobody's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.data.record import Record, Turn
from sealora_client.data.spool import Excerpt, Joined, Spool
from sealora_common.errors import StorageError

TEXT = st.text(max_size=5)
RECORDS = st.builds(
    Record,
    TEXT,
    TEXT,
    person=st.none() | TEXT,
    line=st.integers(1, 9),
    earlier=st.lists(st.builds(Turn, st.just("user"), TEXT, learned=st.booleans()), max_size=2).map(tuple),
)


def spooled(items, in_memory: int) -> Spool:
    spool = Spool(in_memory)
    for item in items:
        spool.append(item, 10)
    spool.close()
    return spool


@given(st.lists(RECORDS, max_size=8), st.sampled_from([0, 25, 10**9]), st.data())
def test_it_is_the_sequence_of_what_was_put_in(items, in_memory, data):
    spool = spooled(items, in_memory)
    assert spool == items
    assert [record.line for record in spool] == [record.line for record in items]
    start, stop = data.draw(st.tuples(*[st.integers(-9, 9)] * 2))
    assert spool[start:stop] == items[start:stop]
    assert list(Excerpt(spool, 1, 4)) == items[1:4]
    assert Excerpt(spool, 1, 4)[0:2] == items[1:4][0:2]
    both = Joined(spool, items[:2])
    assert list(both) == [both[place] for place in range(len(both))] == items + items[:2]
    assert both[start:stop] == (items + items[:2])[start:stop]
    for sequence in (spool, both):
        for place in (len(sequence), -len(sequence) - 1):
            with pytest.raises(IndexError):
                sequence[place]
    assert (spool != items) is False
    assert spool != [*items, None]


def example(number: int) -> Example:
    tokens = np.arange(3 + number % 50, dtype=np.int32) * number
    return Example(tokens, 1 + number % 3, truncated=number % 2 == 0, earlier=((1, 2),) if number % 3 else ())


def same(one: Example, another: Example) -> bool:
    return (
        one.tokens.dtype == another.tokens.dtype
        and one.tokens.tobytes() == another.tokens.tobytes()
        and replace(one, tokens=another.tokens) == another
    )


def test_examples_come_back_bit_for_bit_to_any_number_of_threads():
    examples = [example(number) for number in range(500)]
    spool = spooled(examples, 0)
    order = np.random.default_rng(3).permutation(5000) % 500
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda place: spool[int(place)], order))
    assert all(same(one, examples[place]) for one, place in zip(found, order, strict=True))


@pytest.mark.parametrize("persons", [None, [f"p{number % 7}" for number in range(40)]])
def test_a_population_has_the_same_units_wherever_its_examples_lie(persons):
    examples = [example(number) for number in range(40)]
    here, aside = Population.of(examples, persons), Population.of(spooled(examples, 0), persons)
    assert (len(here), here.examples) == (len(aside), aside.examples)
    for unit, other in zip(here.units, aside.units, strict=True):
        assert all(same(one, another) for one, another in zip(unit, other, strict=True))
    assert [len(unit) for unit in aside.units[2:5]] == [len(unit) for unit in here.units[2:5]]


def test_the_file_has_no_name_and_is_this_account_s_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spool = spooled(["a secret"] * 100, 0)
    assert list(tmp_path.iterdir()) == []
    assert spool._file is not None
    assert os.fstat(spool._file.fileno()).st_mode & 0o777 == 0o600
    assert os.fstat(spool._file.fileno()).st_size > 0


def test_nothing_is_left_behind_by_a_process_that_is_killed(tmp_path):
    program = (
        "import os, signal\nfrom sealora_client.data.spool import Spool\nspool = Spool(0)\n"
        "for _ in range(1000): spool.append('a secret' * 100, 800)\n"
        "spool.close()\nprint(len(spool), flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment, check=False)
    assert (done.stdout.strip(), done.returncode) == (b"1000", -signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_with_the_variable_that_names_another(tmp_path):
    program = (
        "import resource, signal\nfrom sealora_client.data.spool import Spool\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\nspool = Spool(0)\n"
        "from sealora_common.errors import StorageError\n"
        "try:\n    for _ in range(1000): spool.append('x' * 1000, 1000)\n    spool.close()\n"
        "except StorageError as error: print(error)"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.startswith(f"cannot write {tmp_path}: ")
    assert "TMPDIR names another directory" in done.stdout


def test_a_directory_for_temporary_files_that_cannot_be_used_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(StorageError, match="TMPDIR names another directory"):
        spooled([1], 0)
