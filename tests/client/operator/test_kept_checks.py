"""What the last checks found: kept for this account alone, and nothing where it cannot be read."""

from __future__ import annotations

import pytest

from sealora_client.operator.kept_checks import CHECKS, SITE_CHECK, keep_preflight, kept_data_report, kept_preflight
from sealora_common.health.finding import failed, passed


def test_a_preflight_is_kept_in_place_of_the_one_before(tmp_path):
    keep_preflight(tmp_path, (passed("a", "b"),), trial=True)
    keep_preflight(tmp_path, (failed("a", "b"), passed("c", "d")), trial=False)
    kept = kept_preflight(tmp_path)
    assert (kept.trial, kept.failures, len(kept.findings)) == (False, 1, 2)
    assert (tmp_path / CHECKS / SITE_CHECK).stat().st_mode & 0o777 == 0o600
    assert kept_data_report(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"at": 5}', b"\xff", b"[" * 10_000])
def test_what_an_earlier_version_or_nobody_wrote_is_nothing(tmp_path, content):
    keep_preflight(tmp_path, (), trial=False)
    (tmp_path / CHECKS / SITE_CHECK).write_bytes(content)
    assert kept_preflight(tmp_path) is None
