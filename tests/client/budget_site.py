"""A site with a budget, and `sealora-site budget` as it is typed there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sealora_client.cli import cli, main
from sealora_client.data.fingerprint import DataSet
from sealora_client.ledger import Ledger
from sealora_common.entropy import SeededEntropy
from sealora_common.identity import Identity
from sealora_common.privacy.accounting import PrivacyEvent
from sealora_common.roster import Roster

from ledger_runs import FORGER, SITE

DELTA = 1e-3
COORDINATOR = Identity.create("coordinator", SeededEntropy("coordinator"))
ROUND = PrivacyEvent(noise_multiplier=4.0, sample_rate=0.5, steps=2)


def write_site(directory: Path, *, roster: bool = True, person: bool = False, **privacy: Any) -> Path:
    """A site with 20 training and 5 held-out records, of 10 and 5 persons, and a recipe of four rounds."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "prompt": f"What is {number}?",
            "response": f"{number}.",
            "split": "heldout" if number < 5 else "train",
            "patient": f"p{number if number < 5 else 5 + number % 10}",
        }
        for number in range(25)
    ]
    (directory / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = {
        "name": "tiny",
        "rounds": 4,
        "model": {"base": "smollm2-135m-instruct"},
        "data": {"person_field": "patient"} if person else {},
        "training": {"sample_rate": 0.5, "steps_per_round": 1 if "mechanism" in privacy else 2},
        "sealing": {"ring_bits": 24},
        "privacy": {"epsilon": 6.0, "delta": DELTA, **privacy},
    }
    files = {
        "site.yaml": {"name": "site-0", "data": "data.jsonl", "coordinator": COORDINATOR.pin},
        "policy.yaml": {"epsilon_limit": 8.0, "delta_limit": DELTA},
        "recipe.yaml": recipe,
    }
    for name, content in files.items():
        (directory / name).write_text(yaml.safe_dump(content))
    SITE.save(directory / "identity.pem")
    if roster:
        keys = {"site-0": SITE.public_key, "site-1": FORGER.public_key, "site-2": COORDINATOR.public_key}
        Roster.create("test", keys, COORDINATOR, COORDINATOR.public_key).save(directory / "roster.json")
    return directory


def training_set(site: Path, count: int | None = None) -> DataSet:
    lines = [json.loads(line) for line in (site / "data.jsonl").read_text().splitlines()]
    train = [(line["prompt"], line["response"]) for line in lines if line["split"] == "train"]
    return DataSet.of_records(train[:count])


def spend(site: Path, rounds: int, dataset: DataSet | None = None, run: str = "ab" * 16) -> list[int]:
    """Charges and releases some rounds of the site's training data."""
    entries = []
    with Ledger(site / "ledger.sqlite", SITE) as ledger:
        for number in range(1, rounds + 1):
            made = ledger.charge(
                dataset=dataset or training_set(site),
                run=run,
                round_number=number,
                event=ROUND,
                delta=DELTA,
                epsilon_limit=8.0,
            )
            ledger.mark_released(made.id)
            entries.append(made.id)
    return entries


def run(*arguments: str | Path) -> str:
    """The command's output."""
    result = CliRunner().invoke(cli, ["budget", *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return result.output


def report(site: Path, *arguments: str | Path) -> dict[str, Any]:
    return dict(json.loads(run("--directory", site, "--json", *arguments)))


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The error of a command that ends as it should: one sentence on stderr, exit status 1."""
    monkeypatch.setattr(sys, "argv", ["sealora-site", "budget", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    captured = capsys.readouterr()
    assert left.value.code == 1
    assert captured.out == ""
    assert captured.err.startswith("Error: ")
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("Error: ").rstrip("\n")
