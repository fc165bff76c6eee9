"""One check at a time, and what is said to whoever asks for another."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from fleet_server import wait_until

from sealora_client.dashboard.background_checks import BackgroundChecks


@pytest.mark.parametrize("came_to", [None, "It came to nothing."])
def test_another_check_is_refused_in_a_sentence_that_goes_when_the_first_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, came_to: str | None
) -> None:
    go_on = threading.Event()

    def ran(self: BackgroundChecks, kind: str) -> str | None:
        go_on.wait(20)
        return came_to

    monkeypatch.setattr(BackgroundChecks, "_ran", ran)
    checks = BackgroundChecks(tmp_path)
    assert checks.begin("site")
    assert not checks.begin("data")
    assert (checks.at_work, checks.problem) == ("site", "A check is at work: ask again when it has ended.")
    go_on.set()
    wait_until(lambda: checks.at_work is None)
    assert checks.problem == came_to
    assert checks.begin("data")
