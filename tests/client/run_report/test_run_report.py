"""A site's own report of a run, in the middle of it and at its end, and that nothing on the page runs."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "federation"))

from keyed import KeyedGridInline, keyed_run

from sealora_client.cli import cli
from sealora_client.delivery.kept_run import find_run
from sealora_client.ledger import Ledger
from sealora_client.run_report.figures import run_at_site
from sealora_client.run_report.page import run_page, write_run_report
from sealora_common.errors import PolicyError
from sealora_common.privacy.accounting import epsilon_pld
from sealora_common.receipts.receipt import chain_from_bytes, chain_to_bytes
from sealora_server.app import serve
from sealora_server.run.store import RunStore

from tiny_federation import PRIVATE, history_of, typed

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def run(tiny_base, tmp_path_factory) -> Path:
    directory = keyed_run(tmp_path_factory.mktemp("report"), tiny_base(), privacy=PRIVATE)
    serve(KeyedGridInline.over(directory), directory)
    return directory


@pytest.fixture
def site(run, tmp_path) -> Path:
    return Path(shutil.copytree(run / "sites" / "site-1", tmp_path / "site-1"))


def test_it_holds_the_site_s_exact_figures_and_the_federation_s_noisy_ones(run, site):
    found = run_at_site(site, RunStore.open(run).run_id)
    lines, result = history_of(run, "site-1"), RunStore.open(run).result
    assert (found.has_ended, found.rounds_trained, found.kept_round) == (True, 2, 2)
    assert (found.heldout_before, found.heldout_after) == (lines[0]["heldout_loss"], lines[2]["heldout_loss"])
    assert (found.federation_before, found.federation_after) == (result.heldout_loss_before, result.heldout_loss_after)
    assert found.federation_noise > 0
    assert found.bytes_up == sum(line["bytes_up"] for line in lines)
    assert (found.records, found.heldout_records) == (25, 4)


def test_what_left_is_one_vector_a_round_and_the_sealing_s_own_messages(run, site):
    found = run_at_site(site, RunStore.open(run).run_id)
    vectors, sealing, *_ = found.left
    assert vectors.messages == 3
    assert vectors.bytes == sum(line["vector_bytes"] for line in history_of(run, "site-1"))
    assert sealing.bytes + vectors.bytes == found.bytes_up


def test_what_it_cost_is_the_ledger_s(run, site):
    found = run_at_site(site, RunStore.open(run).run_id)
    assert {cost.part: cost.units for cost in found.costs} == {"training": 25, "held-out": 4}
    with Ledger(site / "ledger.sqlite") as ledger:
        for cost in found.costs:
            events = [row.event for row in ledger.charges(cost.fingerprint)]
            assert cost.epsilon == epsilon_pld(events, PRIVATE["delta"])
            assert cost.left == max(0.0, found.policy_limit - cost.spent)
    assert all(0 < cost.epsilon <= PRIVATE["epsilon"] for cost in found.costs)


def test_receipts_that_were_tampered_with_are_told_on_the_page(run, site):
    run_id = RunStore.open(run).run_id
    assert run_at_site(site, run_id).receipts.problem is None
    path = site / "receipts" / f"{run_id}.jsonl"
    first, second = chain_from_bytes(path.read_bytes())
    path.write_bytes(chain_to_bytes([first.model_copy(update={"survivors": ("site-0", "site-1")}), second]))
    found = run_at_site(site, run_id)
    assert "the receipt of round 1 is refused" in found.receipts.problem
    assert "The receipts do not hold." in run_page(found, None)


def test_names_that_others_wrote_do_nothing_on_the_page(run, site):
    found = run_at_site(site, RunStore.open(run).run_id)
    page = run_page(found.model_copy(update={"recipe": HOSTILE, "site": HOSTILE}), None)
    assert HOSTILE not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_a_run_that_goes_on_is_told_as_far_as_it_came(run, site):
    run_id = RunStore.open(run).run_id
    (site / "runs" / run_id / "conclusion.json").unlink()
    found = run_at_site(site, run_id)
    assert (found.has_ended, found.kept_round, found.federation_after) == (False, None, None)
    assert "No final adapter yet." in run_page(found, None)


def test_it_is_for_this_account_alone_and_written_anew_by_the_command(run, site):
    run_id = RunStore.open(run).run_id
    write_run_report(site, run_id)
    kept = find_run(site, None).directory
    assert {(kept / name).stat().st_mode & 0o777 for name in ("report.html", "summary.json")} == {0o600}
    (kept / "report.html").unlink()
    said = typed(cli, "report", "tiny", "--directory", site)
    assert "the receipts of 2 rounds hold; its adapter is here" in said
    assert (kept / "report.html").exists()
    assert json.loads(typed(cli, "report", run_id[:6], "--directory", site, "--json"))["run"] == run_id


@pytest.mark.parametrize(("named", "said"), [("other", "no run here has that id or recipe"), ("../..", "no run here")])
def test_a_run_that_is_not_here_is_said(site, named, said):
    with pytest.raises(PolicyError, match=said):
        typed(cli, "report", named, "--directory", site)
    with pytest.raises(PolicyError, match="has taken part in no run"):
        typed(cli, "report", "--directory", site.parent)
