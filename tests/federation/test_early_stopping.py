"""A private run that stops early: what its sites were charged, and what the pages say of it."""

from __future__ import annotations

import pytest

from sealora_client.ledger import Ledger
from sealora_common.privacy.plan import privacy_plan
from sealora_server.view.report import render_report
from sealora_server.view.summary import summarize

from tiny_federation import PRIVATE, adapter_of, events_of, recipe_of, run_inline, training_charges, write_federation

NEVER_GOOD_ENOUGH = {"early_stopping": {"patience": 1, "min_delta": 100.0}}


@pytest.fixture(scope="module")
def stopped(tiny_base, tmp_path_factory):
    directory = tmp_path_factory.mktemp("stopped")
    server = {**NEVER_GOOD_ENOUGH, "keep": "best"}
    return run_inline(
        write_federation(directory, tiny_base(), rounds=5, privacy=PRIVATE, server=server), directory / "run"
    )


def test_the_sites_train_no_more_and_evaluate_once(stopped):
    # Round 1 tells of the adapter after 0 rounds, round 2 of that after 1; the evaluation is of the last one, after 2.
    assert [event.round for event in events_of(stopped, "round_finished")] == [1, 2]
    assert len(events_of(stopped, "evaluation_finished")) == 1
    assert not events_of(stopped, "site_failed")


def test_epsilon_is_spent_on_the_rounds_that_ran_with_the_noise_of_all(stopped):
    recipe = recipe_of(stopped)
    plan = privacy_plan(recipe, 3)
    for site in ("site-0", "site-1", "site-2"):
        assert [row.event for row in training_charges(stopped, site)] == [plan.training.event] * 2
        with Ledger(stopped / "sites" / site / "ledger.sqlite") as ledger:
            assert sum(row.event == plan.heldout.event for row in ledger.charges()) == 3
            assert all(row.released for row in ledger.charges())
    assert plan.rounds == 5
    spent = [site.epsilon for site in summarize(stopped).sites]
    assert all(0 < each < 0.8 * recipe.privacy.epsilon for each in spent)


def test_the_report_says_that_it_stopped_and_which_adapter_it_is(stopped):
    page = " ".join(render_report(stopped).split())
    assert "Stopped early, after 2 of 5 rounds" in page
    assert "epsilon was spent on those that ran" in page
    assert "The final adapter is that of <strong>round 0</strong>" in page
    summary = summarize(stopped)
    assert summary.heldout_loss_after == summary.heldout_loss_before
    assert summary.expected_epochs == pytest.approx(2 * 0.5)
    final = adapter_of(stopped)
    assert not any(final[name].any() for name in final if name.endswith("lora_B.weight"))
