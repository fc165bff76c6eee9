"""One trial at work: a recipe's federated rounds under every seed, and the figure that it is judged by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sealora_common.entropy import SystemEntropy
from sealora_common.recipe import Recipe
from sealora_server.comparison.arms import Arm, arms_of
from sealora_server.comparison.outcome import ArmOutcome, SiteOutcome
from sealora_server.comparison.unsealed_run import UnsealedResult, run_unsealed
from sealora_server.run.best_round import ToldFigure
from sealora_server.simulation.sites import UnsealedSitesLike
from sealora_server.tuning.records_kind import RecordsKind
from sealora_server.tuning.search.suggestion import Hopeless
from sealora_server.tuning.trials import RoundFigure, TuningTrial


class _PrunedError(Exception):
    """The trial is not worth going on with."""


@dataclass(frozen=True)
class TrialRun:
    """A trial that is to be run.

    Attributes:
        begun: its number and values.
        recipe: those values in the recipe.
        sites: whose records they are.
        records: of `private` ones no exact figure is looked at.
        seeds: how often it is trained.
        hopeless: whether it is worth going on with.
        show: told in a few words where it is.
    """

    begun: TuningTrial
    recipe: Recipe
    sites: UnsealedSitesLike
    records: RecordsKind
    seeds: int
    hopeless: Hopeless
    show: Callable[[str], None]

    def run(self) -> TuningTrial:
        """What came of it.

        Raises:
            SealoraError: the model cannot be trained as the recipe says.
        """
        units = {name: self.sites.units((name,)) for name in self.sites.names}
        arm = next(each for each in arms_of(self.recipe, units) if each.kind == "federated")
        figures, on_the_way, outcomes = list[float | None](), list[RoundFigure](), list[ArmOutcome]()
        try:
            for place in range(self.seeds):
                if self.records == RecordsKind.PRIVATE:
                    figures.append(self._noisy_figure(arm, place, on_the_way))
                else:
                    outcomes.append(self._exact_outcome(arm, place, on_the_way))
                    figures.append(outcomes[-1].figure)
        except _PrunedError as error:
            found: dict[str, object] = {"end": "pruned", "reason": str(error), "on_the_way": tuple(on_the_way)}
            return self.begun.model_copy(update=found)
        end = "diverged" if None in figures else "done"
        found = {"end": end, "figures": tuple(figures), "on_the_way": tuple(on_the_way), "outcomes": tuple(outcomes)}
        return self.begun.model_copy(update=found)

    def _noisy_figure(self, arm: Arm, place: int, on_the_way: list[RoundFigure]) -> float | None:
        """What a run would tell, under noise that nobody can draw again.

        From a seed that somebody knows, or that two trainings share, it would protect nothing: each has one of its own,
        which is written nowhere.
        """
        secret = int.from_bytes(SystemEntropy().bytes(32), "big")
        return self._trained(arm, secret, place, on_the_way, tells=True).told

    def _exact_outcome(self, arm: Arm, seed: int, on_the_way: list[RoundFigure]) -> ArmOutcome:
        result = self._trained(arm, seed, seed, on_the_way, tells=False)
        self.show(f"trial {self.begun.number}, seed {seed}: held-out records of all sites")
        measured = self.sites.heldout(result.adapter)
        return ArmOutcome(
            subject=self.begun.subject,
            arm=arm.key,
            seed=seed,
            rounds=result.rounds,
            kept_round=result.kept_round,
            norms=result.norms,
            seconds=result.seconds,
            sites=tuple(SiteOutcome.of(each) for each in measured),
        )

    def _trained(
        self, arm: Arm, seed: int, place: int, on_the_way: list[RoundFigure], *, tells: bool
    ) -> UnsealedResult:
        def on_round(number: int) -> None:
            self.show(f"trial {self.begun.number}, seed {place}: round {number} of {self.recipe.rounds}")

        def on_figure(told: ToldFigure) -> None:
            # Under the first seed alone, whose figures the trials before have, too.
            if place == 0 and 0 < told.trained < self.recipe.rounds:
                on_the_way.append(RoundFigure(rounds=told.trained, figure=told.loss))
                if self.hopeless(told.trained, told.loss):
                    raise _PrunedError(f"after round {told.trained} the median of the trials before was better")

        return run_unsealed(self.sites, arm, seed, on_round, on_figure, tells=tells)
