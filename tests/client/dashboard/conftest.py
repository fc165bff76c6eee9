"""A site with a ledger, a message log and a check, and its page in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from shown_site import ShownSite, shown

from sealora_client.delivery.kept_run import KeptRun
from sealora_client.operator.sent_log import SentLog, SentMessage
from sealora_client.site_evaluation.evaluation import (
    EVALUATION,
    BesideAdapter,
    Estimate,
    EvaluatedFigure,
    SiteEvaluation,
)
from sealora_common.recipe import load_recipe
from sealora_common.records.names import HISTORY
from sealora_common.records.site_rounds import SiteRound
from sealora_common.storage.durable import append_line

from budget_site import spend, write_site

RUN = "ab" * 16
LOSS = EvaluatedFigure(
    name="loss",
    title="Loss",
    unit="nats a token",
    better="lower",
    interval="bootstrap",
    adapter=Estimate(value=2.5, low=2.4, high=2.6),
    base=Estimate(value=4.5, low=4.4, high=4.6),
    difference=Estimate(value=-2.0, low=-2.1, high=-1.9),
    beside=Estimate(value=3.75, low=3.7, high=3.8),
    over_beside=Estimate(value=-1.25, low=-1.3, high=-1.2),
)
EVALUATED = SiteEvaluation(
    site="site-0",
    run=RUN,
    recipe="tiny",
    recipe_hash="00" * 32,
    adapter_digest="11" * 32,
    base_digest="22" * 32,
    beside=BesideAdapter(title="this site's own adapter", digest="33" * 32, steps=50, units=20),
    created="2026-01-05T08:00:00+00:00",
    source="the held-out records",
    records=5,
    units=5,
    unit="record",
    unusable=0,
    truncated=0,
    trained_on=0,
    answers_cut=None,
    max_new_tokens=None,
    seed=0,
    resamples=100,
    figures=(LOSS,),
    by=(),
    missing=(),
    packages={},
)


def write_shown_site(directory: Path) -> Path:
    """A site that was charged for three rounds, and wrote down what it sent in them."""
    site = write_site(directory)
    spend(site, 3)
    log = SentLog(site)
    for number in (1, 2, 3):
        for kind, size in (("train", 900), ("share", 4000), ("mask", 120_000)):
            log.note(SentMessage(at=f"2026-01-0{number}T08:00:00+00:00", kind=kind, run=RUN, round=number, bytes=size))
    kept = KeptRun(site, RUN)
    kept.keep_recipe(load_recipe(site / "recipe.yaml"))
    (kept.directory / EVALUATION).write_text(EVALUATED.model_dump_json())
    for number, loss in ((1, 3.5), (2, 3.25), (3, 3.125)):
        line = SiteRound(round=number, kind="train", run=RUN, heldout_loss=loss, vector_bytes=120_000, bytes_up=124_900)
        append_line(site / HISTORY, line.to_line())
    log.note(SentMessage(at="2026-01-04T08:00:00+00:00", kind="train", run=RUN, round=4, bytes=80, refused=True))
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[ShownSite]:
    """Shown while the tests of a module look."""
    with shown(write_shown_site(tmp_path_factory.mktemp("shown") / "site")) as found:
        yield found
