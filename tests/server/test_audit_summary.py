from __future__ import annotations

import math

import numpy as np
import pytest

from sealora_client.audit.claim import Claim
from sealora_client.audit.guessing import Guesses
from sealora_client.audit.roc import Roc
from sealora_client.audit.self_check import Check
from sealora_client.audit.trial import AttackResult, Trial
from sealora_common.recipe import parse_recipe
from sealora_common.records.audits import SiteAudit
from sealora_server.view.audit_charts import bounds_chart, roc_chart
from sealora_server.view.audit_report import render_audit
from sealora_server.view.audit_summary import AuditSummary, SelfCheckSummary, allowed_rate, verdict_on

RECIPE = parse_recipe("name: audited\nrounds: 3\nmodel: {base: tiny}\nprivacy: {delta: 1.0e-5}\n")


def trial_of(white, black, claim, largest=4.4):
    generator = np.random.default_rng(0)
    roc = Roc.of(generator.normal(2.0, 1, size=200), generator.normal(size=200))
    findings = (
        AttackResult("white-box", Guesses(white, 25, 25, 41), roc),
        AttackResult("black-box", Guesses(black, 25, 0, 20), roc),
    )
    return Trial(Claim(claim, 1.3), findings, 400, 203, largest)


def summary_of(trial, site="st-mary"):
    few = Roc.of(np.arange(30.0), np.arange(20.0))
    audit = SiteAudit(site=site, units=1234, trial=trial.summary(), membership=few.summary(), seconds=61.0)
    return AuditSummary.of(RECIPE, audit)


def self_check_of(*checks):
    return SelfCheckSummary.of(RECIPE, [check.summary() for check in checks])


def test_the_summary_holds_every_figure():
    summary = summary_of(trial_of(0.7, 0.2, 1.85))
    assert (summary.site, summary.units, summary.unit) == ("st-mary", 1234, "record")
    assert (summary.rounds, summary.steps, summary.delta) == (3, 12, 1e-5)
    assert (summary.trial.claim, summary.trial.lower_bound) == (1.85, 0.7)
    assert (summary.trial.canaries, summary.trial.included, summary.trial.largest_bound) == (400, 203, 4.4)
    white, black = summary.trial.adversaries
    assert (white.adversary, white.guessed_in, white.guessed_out, white.correct) == ("white-box", 25, 25, 41)
    assert black.lower_bound == 0.2
    assert 0 < white.roc.true_positive_rate < 0.5
    assert white.roc.curve[0] == (0.0, 0.0)
    assert summary.membership.true_positive_rate is None
    assert AuditSummary.model_validate_json(summary.model_dump_json()) == summary


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        (trial_of(0.7, 0.2, 1.85), "Nothing contradicts the claim: the attacks prove an epsilon of at least 0.70"),
        (trial_of(0.7, 2.5, 1.85), "The claim is refuted: the training gives away more than epsilon 1.85 allows"),
        (trial_of(0.7, 0.2, 8.0), "even perfect guesses prove no more than 4.40"),
        (trial_of(4.0, 0.2, None), "claims no privacy: by this training run alone an epsilon of at least 4.00"),
    ],
)
def test_the_verdict_is_one_sentence_and_what_to_do(trial, said):
    summary = trial.summary()
    assert said in verdict_on(summary)
    assert summary.refuted == ("refuted" in said)


def test_the_claim_is_never_told_smaller_than_it_is():
    assert "1.86 is claimed" in verdict_on(trial_of(0.7, 0.2, 1.851).summary())


def test_a_missed_fault_is_named():
    caught, missed = trial_of(2.0, 0.0, 1.0), trial_of(0.5, 0.0, 1.0)
    good = self_check_of(Check(None, missed), Check("noise off", caught))
    assert good.passed
    assert "Every fault was caught" in good.verdict
    bad = self_check_of(Check(None, missed), Check("noise off", caught), Check("clipping off", missed))
    assert not bad.passed
    assert "NOT caught: clipping off" in bad.verdict
    accused = self_check_of(Check(None, caught), Check("noise off", caught))
    assert not accused.passed
    assert "SOUND engine was accused" in accused.verdict


def test_what_a_claim_allows_an_attack():
    assert allowed_rate(0.01, 0.0, 0.0) == pytest.approx(0.01)
    assert allowed_rate(0.01, math.log(5), 0.001) == pytest.approx(0.051)
    assert allowed_rate(0.5, math.log(5), 0.0) == pytest.approx(0.9)  # from the side of the false negatives
    assert allowed_rate(0.01, 1000.0, 0.0) == 1.0


def test_the_charts_show_claim_bounds_and_curves():
    summary = summary_of(trial_of(0.7, 0.2, 1.85))
    bounds = bounds_chart(summary)
    assert [tick.text for tick in bounds.x_ticks] == ["white-box", "black-box", "perfect guesses"]
    heights = [bar.height for bar in bounds.bars]
    assert heights[0] / heights[2] == pytest.approx(0.7 / 4.4)
    assert bounds.notes[0].text == "claimed 1.85"
    assert bounds.y_ticks[0].y == bounds.bottom
    curves = roc_chart(summary)
    assert [line.name for line in curves.lines] == [
        "most that the claim allows",
        "chance",
        "white-box on canaries",
        "black-box on canaries",
        "loss threshold on records",
    ]
    for chart in (bounds, curves):
        assert all(chart.left <= tick.x <= chart.width for tick in chart.x_ticks)
        assert all(0 <= tick.y <= chart.height for tick in chart.y_ticks)


def test_without_a_claim_the_charts_have_no_line_for_it():
    summary = summary_of(trial_of(0.7, 0.2, None))
    assert bounds_chart(summary).lines == ()
    assert roc_chart(summary).lines[0].name == "chance"


@pytest.mark.parametrize("trial", [trial_of(0.7, 0.2, 1.85), trial_of(3.0, 0.2, 1.85), trial_of(0.0, 0.0, None)])
def test_the_report_is_one_page_that_fetches_nothing(trial):
    page = render_audit(summary_of(trial, site="<b>st mary</b>"))
    assert "&lt;b&gt;st mary&lt;/b&gt;" in page
    assert "<b>st mary" not in page
    assert page.count("<svg") == 2
    assert not any(word in page for word in ("<script", "http://", "https://", "src="))
    assert "Keep this page at the site" in page
    assert ("The claim is refuted." in page) == (trial.refutes_claim)
