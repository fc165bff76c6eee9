"""Runs whose model must not leave, said in the first line; and text of others, which is no markup."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sealora_common.entropy import SEED_VARIABLE
from sealora_common.errors import FederationError, PolicyError
from sealora_common.records.event_log import EventLog
from sealora_common.records.events import OperatorActed, RunFailed, RunInterrupted, SiteFailed
from sealora_server.cli import cli
from sealora_server.dossier.judgement import judged
from sealora_server.dossier.run_evidence import RunEvidence
from sealora_server.dossier.site_parts import attached
from sealora_server.dossier.write import write_dossier

from dossier_runs import check, fingerprint_of
from tiny_federation import PRIVATE, WatchedGrid, run_inline, write_federation

HOSTILE = "<script>alert('x')</script> [a](javascript:b) | **c**"


def first_lines(out: Path) -> set[str]:
    """As the JSON, the page and the card have it."""
    told = json.loads((out / "dossier.json").read_bytes())["clearance"]["first_line"]
    status, said = check(out, fingerprint_of(out))
    assert status == 0, said
    assert told in said
    assert (out / "dossier.html").read_text().count("<title>NOT CLEARED: ") == 1
    assert "**NOT CLEARED: this model must not leave." in (out / "model-card" / "README.md").read_text()
    return {told}


@pytest.fixture(scope="session")
def open_run(tiny_base, tmp_path_factory) -> Path:
    """Without privacy, and with a base model whose place is spelt like markup."""
    home = tmp_path_factory.mktemp("open")
    base = Path(shutil.copytree(tiny_base(), home / "<img src=x onerror=alert(1)> | `**b**"))
    return run_inline(write_federation(home / "fed", base, rounds=1), home / "run")


def test_a_run_without_privacy_is_not_cleared(open_run, tmp_path):
    done = CliRunner().invoke(cli, ["dossier", str(open_run), "--out", str(tmp_path / "d")])
    assert done.exit_code == 1
    assert done.output.startswith("NOT CLEARED")
    (said,) = first_lines(tmp_path / "d")
    assert said.startswith("NOT CLEARED: this model must not leave. It was trained without differential privacy")
    told = json.loads((tmp_path / "d" / "dossier.json").read_bytes())
    assert "The part of site-0 says that the model must not leave." in told["clearance"]["against"]
    text = (tmp_path / "d" / "dossier.html").read_text()
    assert "There is no differential privacy" in text
    assert "the whole run, for each site" not in text, "no epsilon is shown that was not used"
    answers = [answer for framework in told["frameworks"] for answer in framework["answers"]]
    stated = next(each for each in answers if each["demand"].startswith("The privacy parameters"))
    assert stated["status"] == "not met"


def test_a_seeded_run_is_not_cleared(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setenv(SEED_VARIABLE, "7")
    recipe = write_federation(tmp_path / "fed", tiny_base(), rounds=1, privacy=PRIVATE)
    run = run_inline(recipe, tmp_path / "run")
    monkeypatch.delenv(SEED_VARIABLE)
    told, _ = write_dossier(run, tmp_path / "d")
    (said,) = first_lines(tmp_path / "d")
    assert "seeded for a test" in said
    part = json.loads((tmp_path / "d" / "sites" / "site-1" / "part.json").read_bytes())
    assert part["clearance"]["first_line"].startswith("NOT CLEARED")
    assert "Noise was seeded for a test" in part["clearance"]["first_line"]
    assert [each.standing for each in told.parts] == ["not cleared"] * 3


class _LosesRoundTwo(WatchedGrid):
    def exchange(self, site, action, message):
        if self.round == 2:
            raise KeyboardInterrupt
        return super().exchange(site, action, message)


def test_a_run_that_broke_off_is_not_cleared(tiny_base, tmp_path):
    recipe = write_federation(tmp_path / "fed", tiny_base(), privacy=PRIVATE)
    with pytest.raises(KeyboardInterrupt):
        run_inline(recipe, tmp_path / "run", grid=_LosesRoundTwo)
    write_dossier(tmp_path / "run", tmp_path / "running")
    (said,) = first_lines(tmp_path / "running")
    assert said.endswith("The run has not come to its end.")
    log = EventLog(tmp_path / "run" / "events.jsonl")
    log.write(RunInterrupted(round=2))
    write_dossier(tmp_path / "run", tmp_path / "interrupted")
    (said,) = first_lines(tmp_path / "interrupted")
    assert said.endswith("The run was interrupted before its end.")
    log.write(RunFailed(reason=HOSTILE))
    told, _ = write_dossier(tmp_path / "run", tmp_path / "failed")
    (said,) = first_lines(tmp_path / "failed")
    assert said.endswith("The run failed before its end.")
    assert "The adapter is in doubt: there is no adapter in this run's directory." in told.clearance.against
    page = (tmp_path / "failed" / "dossier.html").read_text()
    assert "There is no adapter" in page
    assert HOSTILE not in page


def test_an_adapter_that_was_exchanged_is_not_cleared(private_run, tmp_path):
    run = Path(shutil.copytree(private_run, tmp_path / "run"))
    earlier = run / "rounds" / "0001" / "adapter" / "adapter_model.safetensors"
    shutil.copy(earlier, run / "adapter" / "adapter_model.safetensors")
    write_dossier(run, tmp_path / "d")
    (said,) = first_lines(tmp_path / "d")
    assert "the weights in the directory are not those that the run's log names" in said
    # And an operator who writes the log anew: the receipt, which the sites' orders name, tells of other weights.
    from sealora_common.canonical import digest

    log = run / "events.jsonl"
    kept = digest((private_run / "adapter" / "adapter_model.safetensors").read_bytes())
    log.write_text(log.read_text().replace(kept, digest(earlier.read_bytes())))
    told, _ = write_dossier(run, tmp_path / "e")
    assert "not those that the receipt of their round names" in told.clearance.first_line


def test_receipts_that_do_not_hold_are_not_cleared(private_run, tmp_path):
    run = Path(shutil.copytree(private_run, tmp_path / "run"))
    second = run / "rounds" / "0002" / "receipt.json"
    shutil.copy(run / "rounds" / "0001" / "receipt.json", second)
    told, _ = write_dossier(run, tmp_path / "d")
    assert "Its receipts do not hold" in told.clearance.first_line


def test_a_key_that_is_not_the_roster_s_server_s_is_not_cleared(private_run, tmp_path):
    from sealora_common.entropy import SystemEntropy
    from sealora_common.identity import Identity

    run = Path(shutil.copytree(private_run, tmp_path / "run"))
    Identity.create("server", SystemEntropy()).save(run / "server.pem")
    told, _ = write_dossier(run, tmp_path / "d")
    assert "not the server's on the run's roster" in told.clearance.first_line


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}


def test_text_of_others_is_no_markup(open_run, tmp_path):
    run = Path(shutil.copytree(open_run, tmp_path / "run"))
    log = EventLog(run / "events.jsonl")
    log.write(SiteFailed(round=1, stage="mask", site="site-0", reason=HOSTILE))
    log.write(OperatorActed(action="stop", account=HOSTILE))
    log.write(RunFailed(reason=HOSTILE))
    write_dossier(run, tmp_path / "d")
    for page in (tmp_path / "d").rglob("*.html"):
        found = _Tags()
        found.feed(page.read_text())
        assert not found.tags & {"script", "img", "b", "iframe"}, page
        assert not {name for name in found.attributes if name.startswith("on")}
    assert "&lt;script&gt;" in (tmp_path / "d" / "dossier.html").read_text()
    card = (tmp_path / "d" / "model-card" / "README.md").read_text()
    assert "<img" not in card
    assert "**b**" not in card


def test_an_audit_is_for_the_site_that_it_is_of(private_run, tmp_path):
    (tmp_path / "audit.json").write_text(json.dumps({"site": "elsewhere"}))
    with pytest.raises(PolicyError, match="audit of 'elsewhere', which is no site of this run"):
        write_dossier(private_run, tmp_path / "d", audits=[tmp_path / "audit.json"])
    deployed = shutil.copytree(private_run, tmp_path / "deployed", ignore=shutil.ignore_patterns("sites"))
    with pytest.raises(PolicyError, match="give it to `sealora-site dossier` at that site"):
        write_dossier(Path(deployed), tmp_path / "d", audits=[tmp_path / "audit.json"])
    (tmp_path / "audit.json").write_text("[]")
    with pytest.raises(PolicyError, match=r"is no audit\.json"):
        write_dossier(private_run, tmp_path / "d", audits=[tmp_path / "audit.json"])
    with pytest.raises(PolicyError, match="cannot be read"):
        write_dossier(private_run, tmp_path / "d", audits=[tmp_path / "none.json"])
    assert not (tmp_path / "d").exists()


def test_a_run_that_nobody_finished_has_no_parts_of_sites_that_do_not_know_it(tiny_base, tmp_path):
    class Never(WatchedGrid):
        def exchange(self, site, action, message):
            raise FederationError("the network is down: mend it")

    recipe = write_federation(tmp_path / "fed", tiny_base(), privacy=PRIVATE)
    with pytest.raises(FederationError):
        run_inline(recipe, tmp_path / "run", grid=Never)
    told, manifest = write_dossier(tmp_path / "run", tmp_path / "d")
    assert (manifest.parts, [part.attached for part in told.parts]) == ((), [False] * 3)
    assert "No round has a receipt: nothing shows who took part." in told.clearance.against
    assert first_lines(tmp_path / "d")


def test_a_run_that_went_on_from_an_earlier_one_needs_that_one_s_dossier_too(private_run):
    run = RunEvidence.read(private_run)
    later = replace(run, recipe=run.recipe.model_copy(update={"continue_from": "0" * 64}))
    needed = "The run began with an earlier run's adapter: that run's dossier is needed beside this one."
    assert needed in judged(later, attached(later, {}), "apache-2.0").open_points
    assert needed not in judged(run, attached(run, {}), "apache-2.0").open_points
