"""The commands of docs/upkeep.md, line by line: on a server that runs, and a site, of a run that is over."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from deployed import Deployed
from running_server import running

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "upkeep.md"
PROGRAMS = {"sealora": "sealora_server", "sealora-site": "sealora_client"}


def blocks() -> list[str]:
    """The page's shell blocks."""
    return re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def did(tiny_base, tmp_path_factory) -> tuple[Path, str]:
    """The directory in which the page's lines were typed, and what they said."""
    directory = tmp_path_factory.mktemp("upkeep")
    federation = Deployed(directory, tiny_base())
    with federation:
        run = federation.submit("first")
        assert run.until_over().condition == "finished"
    site = federation.directory("site-0")
    site = site.rename(directory / "heart-hospital")
    site_file = site / "site.yaml"
    (directory / "word").write_text("correct horse\n")
    with running(federation.server):
        values = yaml.safe_load(site_file.read_text())
        site_file.write_text(yaml.safe_dump(values | {"server": None}))
        return directory, _typed(directory)


def test_every_line_of_the_page_does_what_it_says(did):
    directory, said = did
    for line in (
        r"run first, finished, 2 rounds; signed by the server's key",
        r"files, none changed; 0 locked by a passphrase",
        r"run first: deleted",
        r"run first: here again",
        r"heart.backup: site site-0, made",
        r"the ledger has \d+ entries and says: nothing was spent since",
        r"none is missing",
        r"server.pem: new, valid until",
        r"This server is ready",
    ):
        assert re.search(line, said), (line, said)
    for name in ("first.run", "server.backup", "heart.backup", "restored/server.yaml", "for-the-auditor/recipe.yaml"):
        assert (directory / name).exists(), name
    assert (directory / "restored-heart" / "ledger.sqlite").exists()
    log = (directory / "server" / "logs" / "server.log").read_text()
    assert re.search(r"operator \S+ \(process \d+, over .*operator.sock\): delete of run first: done", log)


def _typed(directory: Path) -> str:
    commands = directory / "bin"
    commands.mkdir()
    for name, module in PROGRAMS.items():
        script = commands / name
        script.write_text(f"#!{sys.executable}\nfrom {module}.cli import main\nmain()\n", encoding="utf-8")
        script.chmod(0o755)
    # A check of this site finds that nobody told it where the server is, which is a finding and no reason to stop here.
    text = "\n".join(blocks()).replace(
        "sealora-site check --quick --config heart-hospital/site.yaml",
        "sealora-site check --quick --config heart-hospital/site.yaml || true",
    )
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", text],
        cwd=directory,
        env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
