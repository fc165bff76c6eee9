"""`sealora-site dashboard`: what is refused before anything is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sealora_client.cli import cli
from sealora_common.errors import PolicyError


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--listen", "9182"], "'9182' is no address and port: write one such as 127.0.0.1:8080"),
        (["--listen", "here:nine"], "'here:nine' is no address and port"),
        (["--listen", "0.0.0.0:0"], "0.0.0.0: other machines would log in here without encryption"),
        (["--listen", "192.0.2.1:0"], "192.0.2.1: other machines would log in here without encryption"),
        (["--certificate", "chain.pem"], "--certificate and --key belong together: name both, or neither"),
        (["--key", "key.pem"], "--certificate and --key belong together: name both, or neither"),
    ],
)
def test_an_address_that_others_could_read_or_that_is_none_is_refused(site: Path, words: list[str], said: str) -> None:
    refused = CliRunner().invoke(cli, ["dashboard", str(site), *words])
    assert isinstance(refused.exception, PolicyError)
    assert said in str(refused.exception)
    assert not (site / "dashboard.token").exists()
