"""Files that an earlier version wrote are read, verified and gone on with.

`kept/stopped-in-round-3.tar.xz` holds what a simulation of three sites under `local` left behind when it was stopped in
the third of its four rounds (November 2026, before recipes' hashes were versioned): the run's directory, the sites'
with their ledgers, the base model and the records; in `uninterrupted/`, what the same recipe with the same seed came
to without a stop. It is never made anew: a version that cannot go on with it would leave its users behind.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from sealora_client.cli.program import cli as site_cli
from sealora_common.recipe import load_recipe
from sealora_common.roster import Roster
from sealora_server.run.store import RunStore

from tiny_federation import adapter_of, events_of, history_of, run_inline, training_charges

KEPT = Path(__file__).parent / "kept" / "stopped-in-round-3.tar.xz"
SITES = ("site-0", "site-1", "site-2")
HASH = "94a7690489274c7e66f06c313f289c7d032601074883de39f3ca9f328ed00c2b"
"""The recipe's."""
LATER_FIELDS = {"run", "vector_bytes"}
"""Of a site's history, which the version that wrote these files did not know."""


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Path:
    """The run, restored; its recipe names files relative to the working directory."""
    with tarfile.open(KEPT) as archive:
        archive.extractall(tmp_path, filter="data")
    for site in SITES:
        settings = tmp_path / "run" / "sites" / site / "site.yaml"
        settings.write_text(settings.read_text(encoding="utf-8").replace("/kept/", f"{tmp_path}/"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def test_a_recipe_has_the_hash_that_it_had(kept):
    assert load_recipe(kept / "recipe.yaml").hash == HASH
    assert RunStore.open(kept).recipe.hash == HASH


def test_ledgers_rosters_and_chains_verify_and_say_what_they_said(kept):
    for site in SITES:
        directory = kept / "sites" / site
        assert Roster.load(directory / "roster.json").names == SITES
        (chain,) = (path for path in (directory / "receipts").glob("*.jsonl") if "confirmed" not in path.name)
        roster = str(directory / "roster.json")
        assert "1 round" in _said("receipts", "verify", str(chain), "--roster", roster, "--site", str(directory))
        assert "none is missing" in _said("budget", "verify", "--directory", str(directory))
    assert "5.598" in _said("budget", "--directory", str(kept / "sites" / "site-0"))  # after the two rounds
    assert len(RunStore.open(kept).receipts()) == 2
    assert [event.round for event in events_of(kept, "round_finished")] == [1, 2]


@pytest.mark.filterwarnings("ignore:SEALORA_INSECURE_SEED")
def test_the_run_goes_on_to_the_result_it_would_have_had(kept, monkeypatch):
    monkeypatch.setenv("SEALORA_INSECURE_SEED", "kept")
    before = {site: training_charges(kept, site) for site in SITES}
    run_inline(kept.parent / "recipe.yaml", kept, resume=True)
    for round_number in (3, 4):
        expected = load_file(kept.parent / "uninterrupted" / f"round-{round_number}.safetensors")
        for name, tensor in adapter_of(kept, round_number).items():
            # Equal to the bit where the arithmetic is: another processor's may differ in the last places.
            np.testing.assert_allclose(tensor, expected[name], rtol=0, atol=1e-5)
    for site in SITES:
        charges = training_charges(kept, site)
        assert charges[: len(before[site])] == before[site]
        assert len(charges) == 4
    lines = (kept.parent / "uninterrupted" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    told = [line.keys() - LATER_FIELDS for line in history_of(kept, "site-0")]
    assert told == [json.loads(line).keys() for line in lines]


def _said(*command: str) -> str:
    said = CliRunner().invoke(site_cli, command)
    assert said.exit_code == 0, said.output
    return said.output
