"""Whole runs of each objective, under both mechanisms: sites, seals, ledgers and pages, and a loss that falls."""

from __future__ import annotations

import re

import pytest
from rich.console import Console

from objective_federation import SECTIONS, write_objective_federation
from sealora_client.check.dry_run import check_dry_run
from sealora_client.check.workload import Workload
from sealora_client.model.adapted import adapted_model
from sealora_common.recipe import load_recipe
from sealora_common.records.event_log import read_events
from sealora_server.view.live.plain_lines import plain_line
from sealora_server.view.report import render_report
from sealora_server.view.results import print_results
from sealora_server.view.summary import read_state, summarize

from tiny_federation import history_of, run_inline

pytestmark = pytest.mark.slow

QUICK = {("dpo", "local")}
"""The others are marked slow: each run takes some seconds."""
RUNS = [
    pytest.param(objective, mechanism, marks=() if (objective, mechanism) in QUICK else pytest.mark.slow)
    for objective in SECTIONS
    for mechanism in ("local", "distributed")
]


@pytest.mark.parametrize(("objective", "mechanism"), RUNS)
def test_a_federation_learns_it_privately(tiny_base, tmp_path, objective, mechanism):
    recipe = write_objective_federation(tmp_path, tiny_base(), objective, mechanism=mechanism)
    run = run_inline(recipe, tmp_path / "run")
    for site in ("site-0", "site-1", "site-2"):
        rounds = history_of(run, site)
        losses = [line["heldout_loss"] for line in rounds]
        if objective == "accuracy":
            assert losses[-1] > losses[0] + 0.2, losses
        else:
            assert losses[-1] < 0.9 * losses[0], losses
        spent = [line["epsilon"] for line in rounds if line["kind"] == "train"]
        assert 0 < spent[0] < spent[-1] <= 1000


@pytest.mark.parametrize(
    "objective",
    SECTIONS,
)
def test_the_pre_flight_tries_it(tiny_base, tmp_path, objective):
    recipe = load_recipe(write_objective_federation(tmp_path, tiny_base(), objective))
    model = adapted_model(recipe)
    workload = Workload.read(next(iter(tmp_path.glob("site-0.jsonl"))), recipe, model)
    found = [*workload.check(recipe), *check_dry_run(recipe, model, workload, 3)]
    assert [finding.status for finding in found] == ["pass"] * len(found), found


def test_no_page_calls_an_accuracy_a_loss(tiny_base, tmp_path):
    recipe = write_objective_federation(tmp_path, tiny_base(), "accuracy", rounds=1)
    run = run_inline(recipe, tmp_path / "run")
    summary, state, console = summarize(run), read_state(run), Console(record=True, width=100)
    print_results(summary, (), run, console)
    lines = [plain_line(recorded.event, state, {}) for recorded in read_events(run / "events.jsonl")]
    frame = "\n".join(filter(None, lines)) + console.export_text()
    page = re.sub(r"<style>.*?</style>|<pre>.*?</pre>|<[^>]+>", " ", render_report(run), flags=re.DOTALL)
    for shown in (frame, page):
        assert "accuracy" in shown
        assert not re.search(r"\bloss", shown, re.IGNORECASE), re.findall(r".{40}\bloss.{40}", shown)
    assert "Held-out accuracy, higher is better" in page
    assert summary.heldout_loss_change is None
    assert (summary.heldout.name, summary.heldout.better) == ("held-out accuracy", "higher")
