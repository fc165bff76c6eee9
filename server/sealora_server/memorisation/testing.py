"""A memorisation test at work: what is missing is trained and attacked, arm by arm, and all of it told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from rich.console import Console

from sealora_common.errors import RecipeError
from sealora_common.recipe import Recipe
from sealora_common.records.attacks.memorisation import Planting
from sealora_common.round.groups import require_dealable
from sealora_common.show.quantities import count_text, time_text
from sealora_common.storage.durable import write_atomically
from sealora_server.comparison.arms import Arm, arms_of
from sealora_server.comparison.outcome import OutcomeStore, subject_of
from sealora_server.comparison.unsealed_run import run_unsealed
from sealora_server.memorisation.conclusions import AttackedArm, memorisation_of
from sealora_server.memorisation.findings import Memorisation
from sealora_server.memorisation.outcome import AttackOutcome
from sealora_server.memorisation.report import render_memorisation
from sealora_server.simulation.sites import PlantedSitesLike, resolved, simulated_sites

JSON, PAGE = "memorisation.json", "memorisation.html"
FEWEST_SECRETS: Final = 12
"""Fewer say nothing, whatever is found."""
_ATTACKED: Final = ("base", "no-privacy", "federated")


@dataclass(frozen=True)
class MemorisationTest:
    """A test that was asked for.

    Attributes:
        recipe: as given; its base model's digest is filled in.
        directory: of the test; what it holds is not computed again.
        seeds: how many, from 0 on: each with persons of its own.
        secrets: persons that are planted under each seed.
        repeats: how many records of each are, by turns.
        candidates: false values that each true one is ranked among.
    """

    recipe: Recipe
    directory: Path
    seeds: int
    secrets: int
    repeats: tuple[int, ...]
    candidates: int

    def run(self, console: Console) -> Memorisation:
        """Computes what is not there yet, showing progress on `console`, and writes the figures and the page.

        Raises:
            SealoraError: something the person can mend. What is computed is kept.
            KeyboardInterrupt: likewise.
        """
        sites = simulated_sites()
        self._check()
        bound = resolved(sites, self.recipe, console)
        with console.status("reading the sites' records"):
            first = sites.planted(bound, self._planting(0))
        subject = subject_of(bound, first, "memorisation", self.secrets, list(self.repeats), self.candidates)
        what = "memorisation test with other --secrets, --repeats or --candidates, or one"
        outcomes = OutcomeStore(self.directory, subject, AttackOutcome, what)
        units = {name: first.units((name,)) for name in first.names}
        arms = [arm for arm in arms_of(bound, units) if arm.kind in _ATTACKED]
        found = self._outcomes(arms, bound, first, outcomes, console)
        told = memorisation_of(
            bound, self.recipe, self._planting(0), first.names, first.attacker, found, first.separation
        )
        text = yaml.safe_dump(bound.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        for name, content in (
            ("recipe.yaml", text),
            (JSON, told.model_dump_json(indent=2) + "\n"),
            (PAGE, render_memorisation(told, text)),
        ):
            write_atomically(self.directory / name, content.encode())
        return told

    def _check(self) -> None:
        recipe = self.recipe
        if recipe.continue_from is not None:
            raise RecipeError(
                "continue_from is set, but the arms of a memorisation test begin with the adapter that the recipe "
                "gives them: say continue_from=null"
            )
        if len(set(self.repeats)) < len(self.repeats):
            raise RecipeError(f"--repeats names {max(self.repeats, key=self.repeats.count)} twice: name each once")
        fewest = max(FEWEST_SECRETS, 4 * len(self.repeats))
        if self.secrets < fewest:
            raise RecipeError(
                f"--secrets is {self.secrets}: with {count_text(len(self.repeats), 'number')} of repeats fewer than "
                f"{fewest} say nothing, take a few dozen"
            )
        require_dealable(recipe, len(recipe.sites.simulated))

    def _planting(self, seed: int) -> Planting:
        return Planting(secrets=self.secrets, repeats=self.repeats, candidates=self.candidates, seed=seed)

    def _outcomes(
        self,
        arms: list[Arm],
        bound: Recipe,
        first: PlantedSitesLike,
        outcomes: OutcomeStore[AttackOutcome],
        console: Console,
    ) -> list[AttackedArm]:
        """All of them; every arm under one seed before any under the next."""
        wanted = [(arm, seed) for seed in range(self.seeds) for arm in arms]
        found = {(arm.key, seed): outcomes.find(arm.key, seed) for arm, seed in wanted}
        missing = sum(outcome is None for outcome in found.values())
        console.print(
            f"{count_text(len(wanted), 'outcome')} of {count_text(len(arms), 'arm')}, "
            f"{missing} to compute, up to {count_text(self.recipe.rounds, 'round')} each",
            highlight=False,
        )
        planted = {0: first}
        for arm, seed in wanted:
            outcome = found[arm.key, seed]
            if outcome is None:
                if seed not in planted:
                    planted = {seed: simulated_sites().planted(bound, self._planting(seed))}
                outcome = _computed(arm, seed, planted[seed], outcomes.subject, console)
                outcomes.keep(outcome)
                found[arm.key, seed] = outcome
                told = sum(secret.told for secret in outcome.found.planted)
                console.print(
                    f"{arm.title}, seed {seed}: told {told} of {self.secrets} planted data, "
                    f"{time_text(outcome.seconds)} of training",
                    highlight=False,
                    soft_wrap=True,
                )
        return [
            AttackedArm(arm, tuple(each for (key, _), each in found.items() if key == arm.key and each is not None))
            for arm in arms
        ]


def _computed(arm: Arm, seed: int, sites: PlantedSitesLike, subject: str, console: Console) -> AttackOutcome:
    with console.status(arm.title) as status:

        def on_round(number: int) -> None:
            status.update(f"{arm.title}, seed {seed}: round {number} of {arm.recipe.rounds}")

        result = run_unsealed(sites, arm, seed, on_round)
        status.update(f"{arm.title}, seed {seed}: the attacks")
        found = sites.attack(result.adapter)
    return AttackOutcome(
        subject=subject, arm=arm.key, seed=seed, rounds=result.rounds, seconds=result.seconds, found=found
    )
