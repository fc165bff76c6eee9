"""A page as PDF: printed by the browser that is installed, or one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sealora_common.errors import SealoraError
from sealora_common.show import pdf


def browser(folder: Path, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "chromium").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "chromium").chmod(0o755)


@pytest.fixture
def only(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=None)
    return tmp_path / "bin"


def test_no_browser_is_one_sentence(only):
    with pytest.raises(SealoraError, match=r"needs a browser, and none of chromium, .* is here: apt-get install"):
        pdf.pdf_of("<p>a</p>")


@pytest.mark.parametrize("script", ["exit 1", "exit 0", "kill -9 $$"])
def test_a_browser_that_prints_nothing_is_one_sentence(only, script):
    browser(only, script)
    with pytest.raises(SealoraError, match=r"chromium printed no PDF \(\w+\): leave --pdf out$"):
        pdf.pdf_of("<p>a</p>")


def test_the_browser_is_kept_off_the_network_and_out_of_the_user_s_profile(only):
    said = only.parent / "said"
    browser(only, f'for each in "$@"; do echo "$each" >> {said}; done; exit 1')
    with pytest.raises(SealoraError):
        pdf.pdf_of("<p>a</p>")
    options = said.read_text().splitlines()
    assert {"--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9"} <= set(options)
    (profile,) = (Path(each.partition("=")[2]) for each in options if each.startswith("--user-data-dir="))
    assert not profile.parent.exists()
    assert ("--no-sandbox" in options) is (os.geteuid() == 0)
