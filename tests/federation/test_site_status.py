"""`sealora-site status` of a site whose run is over: the run, what it cost, and the receipt to compare."""

from __future__ import annotations

from typer.testing import CliRunner

from sealora_client.cli import cli
from sealora_client.standing.standing import site_standing
from sealora_server.run.store import RunStore

from tiny_federation import PRIVATE, run_inline, write_federation


def test_after_a_run_it_names_the_run_its_cost_and_its_last_receipt(tmp_path, tiny_base):
    run = run_inline(write_federation(tmp_path / "data", tiny_base(), privacy=PRIVATE), tmp_path / "run")
    directory = run / "sites" / "site-0"
    standing = site_standing(directory)
    store = RunStore.open(run)
    assert standing.run is not None
    assert (standing.run.receipts, standing.run.rounds, standing.run.evaluated) == (2, 2, True)
    assert standing.run.run == store.receipts()[-1].order.run
    assert standing.receipt is not None
    assert standing.receipt.adapter_digest == store.receipts()[-1].adapter_digest
    assert standing.spent is not None
    assert 0 < standing.spent <= 8
    told = CliRunner().invoke(cli, ["status", str(directory)]).output
    assert (
        f"run         {standing.run.run[:12]} (tiny), 2 of 2 rounds have a receipt; over: this site has no part" in told
    )
    assert standing.receipt.adapter_digest in told
