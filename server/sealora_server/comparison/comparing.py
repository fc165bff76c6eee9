"""A comparison of a recipe at work: what is missing is computed, arm by arm and seed by seed, and all of it told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console
from rich.text import Text

from sealora_common.errors import RecipeError
from sealora_common.recipe import Recipe
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.round.groups import require_dealable
from sealora_common.show.quantities import count_text, time_text
from sealora_common.storage.durable import write_atomically
from sealora_server.comparison.arms import Arm, arms_of
from sealora_server.comparison.comparison import Comparison
from sealora_server.comparison.conclusions import JudgedArm, comparison_of
from sealora_server.comparison.into_run import require_same, tell_run
from sealora_server.comparison.outcome import ArmOutcome, OutcomeStore, SiteOutcome, subject_of
from sealora_server.comparison.report import render_comparison
from sealora_server.comparison.unsealed_run import run_unsealed
from sealora_server.simulation.sites import UnsealedSitesLike, resolved, simulated_sites

ALL_ALONE = "alone"
"""What `--only` calls the arms of all sites alone."""
JSON, PAGE = "comparison.json", "comparison.html"


@dataclass(frozen=True)
class Comparing:
    """A comparison that was asked for.

    Attributes:
        recipe: as given; its base model's digest is filled in.
        directory: of the comparison; what it holds is not computed again.
        seeds: how many, from 0 on.
        only: keys of the arms that are wanted, `ALL_ALONE` among them; empty: all.
        into: directory of a finished simulation of the recipe that is told what the sites come to alone.
    """

    recipe: Recipe
    directory: Path
    seeds: int
    only: tuple[str, ...] = ()
    into: Path | None = None

    def run(self, console: Console) -> Comparison:
        """Computes what is not there yet, showing progress on `console`, and writes the figures and the page.

        Raises:
            SealoraError: something the person can mend. What is computed is kept.
            KeyboardInterrupt: likewise.
        """
        sites = simulated_sites()
        self._check()
        bound = resolved(sites, self.recipe, console)
        with console.status("reading the sites' records"):
            records = sites.unsealed(bound)
        if self.into is not None:
            require_same(bound, _units(records), self.into)
        outcomes = OutcomeStore(self.directory, subject_of(bound, records), ArmOutcome)
        arms = [arm for arm in arms_of(bound, _units(records)) if self._wants(arm.key, arm.kind)]
        found = self._outcomes(arms, records, outcomes, console)
        told = comparison_of(bound, records, range(self.seeds), found)
        text = yaml.safe_dump(bound.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        for name, content in (
            ("recipe.yaml", text),
            (JSON, told.model_dump_json(indent=2) + "\n"),
            (PAGE, render_comparison(told, text)),
        ):
            write_atomically(self.directory / name, content.encode())
        if self.into is not None:
            tell_run(told, self.into)
        return told

    def _check(self) -> None:
        recipe, names = self.recipe, sorted(self.recipe.sites.simulated)
        if recipe.continue_from is not None:
            raise RecipeError(
                "continue_from is set, but the arms of a comparison begin with the adapter that the recipe gives them: "
                "say continue_from=null, and compare the runs themselves (sealora compare RUN RUN)"
            )
        require_dealable(recipe, len(names))
        known = [arm.key for arm in arms_of(recipe, dict.fromkeys(names, 1))] if names else []
        for key in self.only:
            if key not in (ALL_ALONE, *known):
                raise RecipeError(
                    f"--only: there is no arm {key!r} of this recipe: choose from {', '.join((ALL_ALONE, *known))}"
                )

    def _wants(self, key: str, kind: str) -> bool:
        return not self.only or key in self.only or kind in self.only

    def _outcomes(
        self, arms: list[Arm], sites: UnsealedSitesLike, outcomes: OutcomeStore[ArmOutcome], console: Console
    ) -> list[JudgedArm]:
        """All that is wanted; every arm under one seed before any under the next."""
        wanted = [(arm, seed) for seed in range(self.seeds) for arm in arms if seed == 0 or arm.is_seeded]
        found = {(arm.key, seed): outcomes.find(arm.key, seed) for arm, seed in wanted}
        missing = sum(outcome is None for outcome in found.values())
        console.print(
            f"{count_text(len(wanted), 'outcome')} of {count_text(len(arms), 'arm')}, "
            f"{missing} to compute, up to {count_text(self.recipe.rounds, 'round')} each",
            highlight=False,
        )
        for arm, seed in wanted:
            outcome = found[arm.key, seed]
            if outcome is None:
                outcome = self._computed(arm, seed, sites, outcomes.subject, console)
                outcomes.keep(outcome)
                found[arm.key, seed] = outcome
                console.print(_line(arm, outcome, HeldoutFigure.of(self.recipe)), soft_wrap=True)
        return [
            JudgedArm(arm, tuple(each for (key, _), each in found.items() if key == arm.key and each is not None))
            for arm in arms
        ]

    def _computed(self, arm: Arm, seed: int, sites: UnsealedSitesLike, subject: str, console: Console) -> ArmOutcome:
        with console.status(arm.title) as status:

            def on_round(number: int) -> None:
                status.update(f"{arm.title}, seed {seed}: round {number} of {arm.recipe.rounds}")

            result = run_unsealed(sites, arm, seed, on_round)
            status.update(f"{arm.title}, seed {seed}: held-out records of all sites")
            measured = sites.heldout(result.adapter)
        return ArmOutcome(
            subject=subject,
            arm=arm.key,
            seed=seed,
            rounds=result.rounds,
            kept_round=result.kept_round,
            norms=result.norms,
            seconds=result.seconds,
            sites=tuple(SiteOutcome.of(each) for each in measured),
        )


def _line(arm: Arm, outcome: ArmOutcome, heldout: HeldoutFigure) -> Text:
    line = Text(f"{arm.title}{f', seed {outcome.seed}' if arm.is_seeded else ''}: {heldout.name} ")
    line.append("has diverged" if outcome.figure is None else heldout.text(outcome.figure), style="bold")
    return line.append(f", {time_text(outcome.seconds)}" if arm.is_seeded else "")


def _units(sites: UnsealedSitesLike) -> dict[str, int]:
    return {name: sites.units((name,)) for name in sites.names}
