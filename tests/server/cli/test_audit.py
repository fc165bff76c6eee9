"""`sealora audit` as a person meets it: a whole audit, every kind of bad input, the exit codes."""

from __future__ import annotations

import json
import stat

import numpy as np
import pytest
from typer.testing import CliRunner

from sealora_client.audit.claim import Claim
from sealora_client.audit.guessing import Guesses
from sealora_client.audit.roc import Roc
from sealora_client.audit.self_check import Check
from sealora_client.audit.trial import AttackResult, Trial
from sealora_common.errors import SealoraError
from sealora_common.records.audits import SiteAudit
from sealora_server.cli import cli as command
from sealora_server.simulation import audits

from tiny_federation import PRIVATE, write_federation

QUICK = ("data.max_tokens=24", "training.micro_batch_size=64", "training.sample_rate=1.0")
SEED = {"SEALORA_INSECURE_SEED": "audit", "PYTHONWARNINGS": "ignore"}


@pytest.fixture(scope="module")
def audited(cli, tiny_base, tmp_path_factory):
    """A whole audit, and what the command said."""
    directory = tmp_path_factory.mktemp("audited")
    recipe = write_federation(directory, tiny_base(), privacy={**PRIVATE, "delta": 1e-5})
    done = cli.run("audit", recipe, *QUICK, "--canaries", "64", cwd=directory, env=SEED)
    assert done.status == 0, done.stderr
    return directory, done


def test_it_prints_the_claim_the_bounds_and_a_verdict(audited):
    _, done = audited
    for wanted in ("claimed", "white-box", "black-box", "loss threshold", "Nothing contradicts the claim", "cannot"):
        assert wanted in done.stdout
    assert "site-0, 24 records" in done.stdout


def test_it_writes_a_report_for_the_site_s_eyes_alone(audited):
    directory, _ = audited
    out = directory / "runs" / "tiny-audit"
    assert {path.name for path in out.iterdir()} == {"audit.json", "audit.html"}
    for path in out.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_json_file_holds_what_was_printed(audited):
    directory, done = audited
    summary = json.loads((directory / "runs" / "tiny-audit" / "audit.json").read_text())
    assert summary["verdict"] in done.stdout.replace("\n", " ")
    assert summary["trial"]["canaries"] == 64
    assert 0 < summary["trial"]["claim"] <= 8
    assert [found["adversary"] for found in summary["trial"]["adversaries"]] == ["white-box", "black-box"]


def test_it_charges_no_ledger_and_makes_no_site(audited):
    """Nothing is released, so nothing is spent: an audit leaves its report and nothing else."""
    directory, _ = audited
    kept = {path.name for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")}
    assert kept == {"audit.json", "audit.html", "recipe.yaml", "site-0.jsonl", "site-1.jsonl", "site-2.jsonl"}


@pytest.mark.slow
def test_json_alone_is_on_standard_output(cli, tiny_base, tmp_path):
    recipe = write_federation(tmp_path, tiny_base(), rounds=1, server={"optimizer": "fedadam", "learning_rate": 0.01})
    distributed = ("privacy.mechanism=distributed", "privacy.epsilon=4", "privacy.delta=1e-5", "sealing.ring_bits=24")
    done = cli.run(
        "audit",
        recipe,
        *QUICK,
        *distributed,
        "--json",
        "--canaries=32",
        "--site=site-1",
        "--out",
        "here",
        cwd=tmp_path,
        env=SEED,
    )
    assert done.status == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary == json.loads((tmp_path / "here" / "audit.json").read_text())
    assert (summary["site"], summary["units"], summary["mechanism"]) == ("site-1", 25, "distributed")


@pytest.mark.slow
def test_an_audit_by_person(cli, tiny_base, tmp_path):
    recipe = write_federation(tmp_path, tiny_base(), rounds=1, privacy={**PRIVATE, "delta": 1e-5})
    for path in tmp_path.glob("site-*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        owned = [{**line, "patient": f"{line['split']} {number // 2}"} for number, line in enumerate(lines)]
        path.write_text("".join(json.dumps(line) + "\n" for line in owned))
    done = cli.run(
        "audit", recipe, *QUICK, "data.person_field=patient", "--json", "--canaries=32", cwd=tmp_path, env=SEED
    )
    assert done.status == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["unit"], summary["units"]) == ("person", 12)


@pytest.mark.slow
def test_a_self_check_with_too_few_canaries_says_what_it_missed(cli, tiny_base, tmp_path):
    recipe = write_federation(tmp_path, tiny_base(), privacy=PRIVATE)
    done = cli.run("audit", recipe, *QUICK, "--self-check", "--canaries=32", cwd=tmp_path, env=SEED)
    assert done.status == 1
    assert "NOT caught: noise at a quarter" in done.stdout.replace("\n", " ").replace("noise off, ", "")
    checks = json.loads((tmp_path / "runs" / "tiny-audit" / "self-check.json").read_text())["checks"]
    assert [check["fault"] for check in checks].count(None) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.yaml"], "nowhere.yaml: no such recipe"),
        (["recipe.yaml", "--site", "nobody"], "--site: sites.simulated has no 'nobody': choose from site-0"),
        (["recipe.yaml", "--canaries", "5"], "--canaries is 5: fewer than 32 prove nothing"),
        (["recipe.yaml", "--canaries", "0", "--self-check"], "--canaries is 0"),
        (["recipe.yaml", f"continue_from={'ab' * 32}"], "an audit begins with the adapter that lora.seed gives"),
        (["recipe.yaml", "sites.simulated={}"], "sites.simulated names no site"),
        (["recipe.yaml", "sites.simulated={a: gone.jsonl}"], "gone.jsonl does not exist"),
        (["recipe.yaml", "sites.simulated={a: one.jsonl}"], "one.jsonl has 3 training and 1 held-out records"),
        (["recipe.yaml", "--self-check"], "privacy.mechanism is none"),
        (["recipe.yaml", "model.base=gone"], "gone"),
        (["recipe.yaml", "training.optimiser=sgd"], "training.optimi"),
    ],
)
def test_bad_input_ends_in_one_sentence(cli, tiny_base, tmp_path, arguments, said):
    write_federation(tmp_path, tiny_base())
    parts = ("train", "train", "train", "heldout")
    lines = [{"prompt": f"p{n}", "response": "r", "split": part} for n, part in enumerate(parts)]
    (tmp_path / "one.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = cli.run("audit", *arguments, cwd=tmp_path)
    assert done.status == 1
    (sentence,) = done.stderr.strip().splitlines()
    assert sentence.startswith("Error: ")
    assert said in sentence
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "runs").exists()


def found(bound):
    roc = Roc.of(np.arange(150.0) + 20, np.arange(150.0))
    findings = (
        AttackResult("white-box", Guesses(bound, 25, 0, 25), roc),
        AttackResult("black-box", Guesses(0, 25, 0, 9), roc),
    )
    return Trial(Claim(1.8, 2.1), findings, 400, 200, 4.0)


class Faked:
    """Audits with an outcome of the test's choice."""

    def __init__(self, bound, caught=True):
        self.bound, self.caught = bound, caught

    def audit(self, recipe, *, site, canaries, server_step, on_round):
        on_round(1)
        return SiteAudit(
            site="site-0",
            units=24,
            trial=found(self.bound).summary(),
            membership=found(0).findings[0].roc.summary(),
            seconds=1.0,
        )

    def self_check(self, recipe, *, site, canaries, on_check):
        on_check(None)
        assert canaries == 1000
        checks = [Check(None, found(0.2)), Check("noise off", found(2.9 if self.caught else 1.0))]
        return [check.summary() for check in checks]


@pytest.mark.parametrize("as_json", [(), ("--json",)])
@pytest.mark.parametrize(
    ("faked", "options", "code", "said"),
    [
        (Faked(0.5), (), 0, "Nothing contradicts"),
        (Faked(1.9), (), 1, "refuted"),
        (Faked(0.0), ("--self-check",), 0, "Every fault was caught"),
        (Faked(0.0, caught=False), ("--self-check",), 1, "NOT caught"),
    ],
)
def test_the_exit_code_is_the_verdict(tiny_base, tmp_path, monkeypatch, faked, options, code, said, as_json):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(audits, "installed_audits", lambda: faked)
    recipe = write_federation(tmp_path, tiny_base())
    done = CliRunner().invoke(command, ["audit", str(recipe), *options, *as_json])
    assert done.exit_code == code
    assert said in done.stdout.replace("\n", " ")
    if as_json:
        json.loads(done.stdout)


def test_without_the_site_package_the_remedy_is_told(monkeypatch):
    monkeypatch.setattr(audits, "entry_points", lambda group: ())
    with pytest.raises(SealoraError, match=r"pip install 'sealora\[sim\]'"):
        audits.installed_audits()


def test_the_site_package_is_found_by_its_entry_point():
    from sealora_client.audit.site_audit import Audits

    assert audits.installed_audits() is Audits
