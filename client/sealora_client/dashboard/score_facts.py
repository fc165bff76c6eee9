"""The site's own exact scores of each run: before and after, beside the federation's, and against the base model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealora_client.dashboard.runs import RunNames
from sealora_client.delivery.kept_run import KeptRun
from sealora_client.site_evaluation.evaluation import EVALUATION, SiteEvaluation, read_evaluation
from sealora_common.errors import SealoraError
from sealora_common.receipts.conclusion import Conclusion
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.records.names import HISTORY
from sealora_common.records.site_rounds import Curve, SiteHistory, SiteRound, SiteRoundsTail

MOST_RUNS: Final = 30
"""That are told of."""


@dataclass(frozen=True)
class RunScores:
    """What was measured of one run.

    Attributes:
        run: its id.
        recipe: its recipe's name.
        rounds: of the recipe.
        heldout: what the figure is that each round measures.
        curve: this site's own exact figure, by rounds trained.
        before: of the adapter that nobody had trained.
        after: of the newest one that was measured, or the one that is kept.
        rounds_trained: that the newest one had.
        conclusion: how the run ended, with the federation's noisy figures; None before that.
        evaluation: what `sealora-site evaluate` found; None if nobody asked for it.
        problem: why something of this could not be read.
    """

    run: str
    recipe: str
    rounds: int
    heldout: HeldoutFigure
    curve: Curve
    before: float | None
    after: float | None
    rounds_trained: int
    conclusion: Conclusion | None
    evaluation: SiteEvaluation | None
    problem: str | None

    @property
    def has_any(self) -> bool:
        """Whether anything was measured."""
        return bool(self.curve) or self.evaluation is not None


def read_scores(directory: Path, runs: RunNames) -> tuple[RunScores, ...]:
    """The newest runs of the site in `directory` that it keeps something of, the newest first."""
    lines: dict[str | None, list[SiteRound]] = {}
    for line in SiteRoundsTail(directory / HISTORY).read():
        lines.setdefault(line.run, []).append(line)
    found = (_scores(kept, runs, lines.get(kept.run, [])) for kept in runs.kept()[:MOST_RUNS])
    return tuple(scores for scores in found if scores is not None)


def _scores(kept: KeptRun, runs: RunNames, lines: list[SiteRound]) -> RunScores | None:
    recipe = runs.recipe(kept.run)
    if recipe is None:
        return None
    problems: list[str] = []
    conclusion: Conclusion | None = None
    evaluation: SiteEvaluation | None = None
    try:
        conclusion = kept.conclusion
    except SealoraError as error:
        problems.append(str(error))
    try:
        evaluation = read_evaluation(kept.directory / EVALUATION)
    except SealoraError as error:
        problems.append(str(error))
    curve = SiteHistory("", tuple(lines)).losses
    by_rounds = dict(curve)
    newest = max(by_rounds, default=0)
    at = newest if conclusion is None or conclusion.kept_round not in by_rounds else conclusion.kept_round
    return RunScores(
        run=kept.run,
        recipe=recipe.name,
        rounds=recipe.rounds,
        heldout=HeldoutFigure.of(recipe),
        curve=curve,
        before=by_rounds.get(0),
        after=by_rounds.get(at) if at else None,
        rounds_trained=at,
        conclusion=conclusion,
        evaluation=evaluation,
        problem="; ".join(problems) or None,
    )
