"""With real processes: from the submission of a run to answers of its model at a site, and a report on both sides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from deployed import Deployed, DeployedSite
from running_server import run_status, said, status, until

from sealora_client.delivery.kept_run import kept_runs
from sealora_common.records.events import AdapterDelivered
from sealora_server.run.store import RunStore

WEIGHTS = "adapter/adapter_model.safetensors"
SECONDS = 240


def typed(site: DeployedSite, *words: str, piped: str | None = None) -> subprocess.CompletedProcess[str]:
    """`sealora-site ...` as it is typed in the site's directory, on a machine without a network."""
    return subprocess.run(
        [sys.executable, "-c", "from sealora_client.cli import main; main()", *words],
        cwd=site.directory,
        input=piped,
        env={**os.environ, "OMP_NUM_THREADS": "1", "https_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )


def letters(text: str) -> str:
    """What of a text is letters and digits."""
    return "".join(filter(str.isalnum, text))


def kept_by(site: DeployedSite) -> Path:
    """Where the site keeps the run's adapter, once it does."""
    return until(
        lambda: next(
            (run.directory for run in kept_runs(site.directory) if (run.directory / "conclusion.json").exists()), None
        ),
        SECONDS,
        site.said,
    )


@pytest.mark.slow
def test_a_run_ends_with_its_model_at_every_site_and_a_report_on_both_sides(tiny_base, tmp_path):
    patient = {"stage_timeout": 300.0, "training_timeout": 300.0}  # sites take a minute to start on a busy machine
    with Deployed(tmp_path, tiny_base(), sites=patient) as federation:
        run, server = federation.submit("first"), federation.server
        late = federation.sites["site-2"]
        late.die_at("held", 3, "before")  # so that it is away when the adapter is given out
        until(lambda: run_status(server, "first").condition == "finished", 4 * SECONDS, lambda: said(server))
        late.wait_for_death()
        weights = (run.directory / WEIGHTS).read_bytes()
        for name in ("site-0", "site-1"):
            assert (kept_by(federation.sites[name]) / WEIGHTS).read_bytes() == weights
        late.start()
        assert (kept_by(late) / WEIGHTS).read_bytes() == weights
        told = until(
            lambda: found if len(found := run.events(AdapterDelivered)) == 3 else None,
            SECONDS,
            lambda: said(federation.server),
        )
        assert sorted(event.site for event in told) == ["site-0", "site-1", "site-2"]
        until(lambda: status(federation.server).runs[0].said == "all 2 rounds are finished", SECONDS)

        site = federation.sites["site-0"]
        kept, run_id = kept_by(site), RunStore.open(run.directory).run_id
        answers = [
            json.loads(line)
            for line in typed(site, "chat", "--json", piped="What is 3?\n\nAnd 4?\n").stdout.splitlines()
        ]
        assert [answer["prompt"] for answer in answers] == ["What is 3?", "And 4?"]
        one = typed(site, "chat", run_id[:8], "--prompt", "What is 3?")
        # An untrained model says control characters, too, and a terminal is shown none.
        assert letters(one.stdout) == letters(answers[0]["answer"]) != ""
        assert f"run {run_id[:12]} (tiny)" in one.stderr
        assert "adapter" in typed(site, "export", "--out", str(tmp_path / "out")).stdout
        assert (tmp_path / "out" / "adapter_model.safetensors").read_bytes() == weights

        summary = json.loads((run.directory / "summary.json").read_text())
        assert summary["status"] == "finished"
        assert summary["heldout_noise"] > 0
        assert {site["records"] for site in summary["sites"]} == {None}
        assert "of noise at least" in (run.directory / "report.html").read_text()
        own = until(lambda: json.loads(path.read_text()) if (path := kept / "summary.json").exists() else None, SECONDS)
        assert own["has_ended"]
        assert (own["receipts"]["rounds"], own["receipts"]["problem"]) == (2, None)
        assert own["heldout_before"] is not None
        assert {cost["part"] for cost in own["costs"]} == {"training", "held-out"}
        assert own["left"][0]["messages"] == 3
        assert "verified just now" in (kept / "report.html").read_text()
    assert not (run.directory / "sites").exists()  # nothing of a site's own came to the server
