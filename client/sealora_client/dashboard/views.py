"""The pages: their parts, each rendered once for everybody who looks, and what a template is told."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from markupsafe import Markup

from sealora_client.dashboard.background_checks import BackgroundChecks
from sealora_client.dashboard.budget_facts import NEWEST, DataSetFacts
from sealora_client.dashboard.facts import PageFacts
from sealora_client.dashboard.priced import Pricing
from sealora_client.dashboard.score_facts import RunScores
from sealora_client.dashboard.sent_facts import RunSent
from sealora_client.data_report.tables import tables
from sealora_client.data_report.terminal import verdict
from sealora_client.standing.standing import SiteStanding
from sealora_common.show import quantities
from sealora_common.show.chart import Chart, Series, line_chart
from sealora_common.show.duration_text import duration_text
from sealora_common.web.pages import Pages, moment

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "now": ("state", "budget", "sent", "leaving"),
    "budget": ("levels", "price", "curve", "charges"),
    "left": ("summary", "runs"),
    "scores": ("runs",),
    "checks": ("state", "data", "site", "policy"),
}
"""By page: its parts."""
PATHS: Final[Mapping[str, str]] = {
    "now": "/",
    "budget": "/budget",
    "left": "/left",
    "scores": "/scores",
    "checks": "/checks",
}
TITLES: Final[Mapping[str, str]] = {
    "now": "Now",
    "budget": "Budget",
    "left": "What left",
    "scores": "Scores",
    "checks": "Checks and policy",
}
_MOST_CHARGES: Final = 1000
_STAGES: Final[Mapping[str, str]] = {
    "train": "training",
    "evaluate": "evaluating",
    "share": "sharing the round's secrets",
    "check": "checking what the others shared",
    "disclose": "answering a complaint",
    "mask": "sending the sealed update",
    "confirm": "confirming who is in the sum",
    "open": "opening the sum",
}


@dataclass(frozen=True)
class HealthFacts:
    """Whether the site is at its place: a word, how it is coloured, and a sentence."""

    state: str
    word: str
    said: str


@dataclass(frozen=True)
class WorkFacts:
    """What the site is at: a word, a sentence, and since when (seconds since the epoch)."""

    word: str
    said: str
    since: float | None = None


class SiteViews:
    """Renders.

    Args:
        pages: with the templates of this room.
        pricing: whose last price is shown.
        checks: which may be at work.
    """

    def __init__(self, pages: Pages, pricing: Pricing, checks: BackgroundChecks) -> None:
        self.pages = pages
        self._pricing = pricing
        self._checks = checks

    def parts(self, page: str, facts: PageFacts) -> dict[str, str]:
        """The page's parts by the id of their element."""
        told = {
            "facts": facts,
            "pricing": self._pricing,
            "checks": self._checks,
            "health": health_of(facts.standing),
            "work": work_of(facts.standing, time.time()),
            "drawn": [_epsilon_chart(each, facts.budget.epsilon_limit) for each in facts.budget.datasets if each.curve]
            if facts.budget
            else [],
            "runs": [(scores, _score_chart(scores)) for scores in facts.scores if scores.has_any or scores.conclusion],
            "newest": NEWEST,
            "most": _MOST_CHARGES,
            "not_known": "not known",
            "when": when,
            "left_text": left_text,
            "run_name": run_name,
            "tables": tables,
            "verdict": verdict,
            "bytes_text": quantities.bytes_text,
            "count_text": quantities.count_text,
            "epsilon_text": quantities.epsilon_text,
            "target_text": quantities.target_text,
        }
        return {f"{page}-{part}": self.pages.text(f"{page}/{part}.html.j2", **told) for part in PARTS[page]}


def when(text: str) -> Markup:
    """A moment that was written as ISO 8601."""
    try:
        return moment(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError):
        return Markup("at an unknown time")


def left_text(epsilon: float) -> str:
    """Never more than is left."""
    return f"{math.floor(epsilon * 100 + 1e-9) / 100:.2f}"


def run_name(run: RunSent) -> str:
    """A run as its people name it."""
    if run.run is None:
        return "Of no run"
    return f"{run.recipe} ({run.run[:12]})" if run.recipe else f"Run {run.run[:12]}"


def health_of(standing: SiteStanding | None) -> HealthFacts:
    """Whether the site runs and is connected, or has left."""
    if standing is None:
        return HealthFacts("bad", "not known", "")
    if standing.has_left:
        return HealthFacts("idle", "has left", "as its people asked")
    if not standing.running:
        return HealthFacts("bad", "does not run", "nothing leaves while it does not")
    server = standing.parts.get("server")
    if server is None:
        return HealthFacts("good", "runs", "whether it is connected is not known: its probes do not answer here")
    if not server.ok:
        return HealthFacts("warn", "not connected", server.said)
    return HealthFacts("good", "connected", "it runs, and the server answers")


def work_of(standing: SiteStanding | None, now: float) -> WorkFacts:
    """What the site is at, and how long that takes."""
    if standing is None:
        return WorkFacts("not known", "")
    at, run = standing.at_work, standing.run
    if at is None:
        if run is None:
            return WorkFacts("no run yet", "nothing was asked of it")
        ended = run.evaluated or run.receipts >= run.rounds
        said = f"{run.recipe}: {run.receipts} of {quantities.count_text(run.rounds, 'round')} have a receipt"
        return WorkFacts("between runs" if ended else "between rounds", said)
    word = "final evaluation" if at.purpose == "evaluate" else f"round {at.round} of {at.rounds}"
    doing = _STAGES.get(at.stage, at.stage)
    if standing.in_hand is None:
        doing += " is done; the other sites are waited for"
    return WorkFacts(word, f"{at.recipe}: {doing}{''.join(_times(standing, now))}", at.stage_began)


def _times(standing: SiteStanding, now: float) -> Iterator[str]:
    at = standing.at_work
    if at is None:
        return
    of_round, of_run = at.round_seconds_left(now), at.run_seconds_left(now)
    if of_round is not None:
        yield f"; about {duration_text(_stepped(of_round))} more of this round"
    if of_run is not None:
        yield f", {duration_text(_stepped(of_run))} of the run"


def _stepped(seconds: float) -> float:
    """In steps that an estimate is worth, so that a page is not told a new one each second."""
    step = 5.0 if seconds < 60 else 60.0
    return math.ceil(seconds / step) * step


def _epsilon_chart(found: DataSetFacts, limit: float) -> Chart:
    return line_chart(
        identifier=f"epsilon-{found.fingerprint[:8]}",
        title=f"{found.what.capitalize()} ({found.fingerprint[:8]})",
        description=f"Epsilon spent by charges; {quantities.epsilon_text(found.spent)} by now, of "
        f"{quantities.target_text(limit)} that the policy allows.",
        series=[Series("spent", found.curve, "federation")],
        rounds=found.curve[-1][0],
        label=quantities.epsilon_text,
        bound=limit,
        bound_name=f"policy {quantities.target_text(limit)}",
        from_zero=True,
        counted="charge",
        x_title="charges",
    )


def _score_chart(scores: RunScores) -> Chart | None:
    if len(scores.curve) < 2:
        return None
    return line_chart(
        identifier=f"score-{scores.run[:12]}",
        title=f"{scores.heldout.title} at this site, exact",
        description=f"This site's own {scores.heldout.name} by rounds trained, in {scores.heldout.unit}; "
        f"{scores.heldout.better} is better.",
        series=[Series("this site", scores.curve, "federation")],
        rounds=scores.rounds,
        label=scores.heldout.text,
    )
