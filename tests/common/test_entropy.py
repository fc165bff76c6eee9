from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings

import pytest

from sealora_common.entropy import SEED_VARIABLE, SeededEntropy, SystemEntropy, insecure_seed_in_use, site_entropy


@pytest.fixture
def unseeded(monkeypatch):
    monkeypatch.delenv(SEED_VARIABLE, raising=False)


@pytest.mark.parametrize("count", [0, 1, 16, 32, 33, 100_000])
def test_there_are_as_many_bytes_as_asked_for(count):
    assert len(SystemEntropy().bytes(count)) == count
    assert len(SeededEntropy("s").bytes(count)) == count


def test_the_ordinary_source_is_the_kernel_s(unseeded, monkeypatch):
    assert not insecure_seed_in_use()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = site_entropy("site", 1)
    assert isinstance(source, SystemEntropy)
    monkeypatch.setattr("os.urandom", lambda count: b"k" * count)
    assert source.bytes(3) == b"kkk"


def test_the_kernel_s_bytes_never_repeat(unseeded):
    assert len({site_entropy("site", 1).bytes(16) for _ in range(100)}) == 100


def test_the_insecure_seed_says_so_whenever_it_is_used(monkeypatch):
    monkeypatch.setenv(SEED_VARIABLE, "1")
    assert insecure_seed_in_use()
    with pytest.warns(UserWarning, match="SEALORA_INSECURE_SEED is set: noise, masks and keys are predictable"):
        assert isinstance(site_entropy("site"), SeededEntropy)


@pytest.mark.filterwarnings("ignore:SEALORA_INSECURE_SEED")
def test_a_seeded_stream_depends_on_the_seed_and_every_part_of_its_purpose(monkeypatch):
    drawn = set()
    for seed in ("1", "2"):
        monkeypatch.setenv(SEED_VARIABLE, seed)
        for purpose in (("a", 1), ("a", 2), ("b", 1), ("a", 1, "x"), ("a1",), ("a", "1", "")):
            drawn.add(site_entropy(*purpose).bytes(16))
            assert site_entropy(*purpose).bytes(16) in drawn
    assert len(drawn) == 12


def test_even_an_empty_seed_counts_as_set(monkeypatch):
    """Whoever sets the variable to nothing has asked for it; better a warning than a silent guess."""
    monkeypatch.setenv(SEED_VARIABLE, "")
    assert insecure_seed_in_use()


def test_a_stream_goes_on_where_it_was():
    whole, parts = SeededEntropy("s", 1), SeededEntropy("s", 1)
    assert whole.bytes(64) == parts.bytes(7) + parts.bytes(57)


def test_a_known_answer():
    """The streams that pinned test vectors rest on."""
    assert SeededEntropy("sealora", 1).bytes(16).hex() == "9f2031ecb9c5dd41bcdb8abf8e669c07"


@pytest.mark.parametrize(
    ("origin", "honoured"),
    [
        (None, False),  # from a package index
        ({"url": "https://example.org/sealora.whl", "archive_info": {}}, False),
        ({"url": "file:///src/sealora", "dir_info": {}}, False),
        ({"url": "file:///src/sealora", "dir_info": {"editable": True}}, True),
    ],
)
def test_only_a_development_installation_honours_the_insecure_seed(tmp_path, origin, honoured):
    """As a site would meet it: another process, and what pip notes beside an installation (PEP 610)."""
    noted = tmp_path / "sealora-9.dist-info"
    noted.mkdir()
    (noted / "METADATA").write_text("Metadata-Version: 2.1\nName: sealora\nVersion: 9\n")
    if origin is not None:
        (noted / "direct_url.json").write_text(json.dumps(origin))
    code = "from sealora_common.entropy import site_entropy; print(type(site_entropy('s')).__name__)"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path), SEED_VARIABLE: "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if honoured:
        assert ran.stdout.strip() == "SeededEntropy", ran.stderr
    else:
        assert ran.returncode != 0
        assert "PolicyError: SEALORA_INSECURE_SEED is set" in ran.stderr
        assert "unset the variable" in ran.stderr
