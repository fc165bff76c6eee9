"""A tuning at work: what is missing is tried, trial by trial, and all of it told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from rich.console import Console
from rich.text import Text

from sealora_common import __version__
from sealora_common.canonical import canonical_json, digest
from sealora_common.errors import BudgetError, ModelError, RecipeError
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import Recipe
from sealora_common.recipe.text import FieldValue
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.round.groups import require_dealable
from sealora_common.show.quantities import count_text
from sealora_common.storage.durable import write_atomically
from sealora_common.storage.lock import DirectoryLock
from sealora_common.storage.own_files import make_directory
from sealora_server.simulation.sites import SimulatedSitesLike, UnsealedSitesLike, resolved, simulated_sites
from sealora_server.tuning.best_recipe import best_recipe_text
from sealora_server.tuning.conclusions import Tuned, overrides_of
from sealora_server.tuning.records_kind import RecordsKind
from sealora_server.tuning.report import render_tuning
from sealora_server.tuning.result import TuningResult
from sealora_server.tuning.search.field_value import value_of, with_values
from sealora_server.tuning.search.search_space import search_space
from sealora_server.tuning.search.searchable import OF_THE_ADAPTER
from sealora_server.tuning.search.suggestion import Hopeless, never_hopeless, require_optuna, suggestion
from sealora_server.tuning.trial_run import TrialRun
from sealora_server.tuning.trials import AS_WRITTEN, TrialStore, TuningTrial

JSON, PAGE, BEST = "tuning.json", "tuning.html", "best.yaml"


@dataclass(frozen=True)
class Tuning:
    """A tuning that was asked for.

    Attributes:
        recipe: as given.
        path: where it was read from.
        overrides: that it was read with.
        directory: of the tuning; trials that it holds are not run again.
        search: as given after each `--search`.
        trials: how many, that of the recipe as it is among them.
        seeds: of each trial.
        records: what the records are; None if nobody said so.
    """

    recipe: Recipe
    path: Path
    overrides: tuple[str, ...]
    directory: Path
    search: tuple[str, ...]
    trials: int
    seeds: int
    records: RecordsKind | None

    def run(self, console: Console) -> TuningResult:
        """Runs the trials that are not there yet, showing progress on `console`, and writes figures, page and recipe.

        Raises:
            SealoraError: something the person can mend. Trials that are finished are kept.
            KeyboardInterrupt: likewise.
        """
        require_optuna()
        space, installed = search_space(self.search, self.recipe), simulated_sites()
        self._check()
        records = self._records(installed)
        bound = resolved(installed, self.recipe, console)
        with console.status("reading the sites' records"):
            sites = installed.unsealed(bound)
        make_directory(self.directory)
        with DirectoryLock(self.directory, "this tuning"):
            subject = digest(
                canonical_json(
                    [__version__, bound.hash, sites.digest, [each.text for each in space], self.seeds, records]
                )
            )
            store = TrialStore(self.directory, subject, [each.field for each in space])
            tuned = Tuned(
                recipe=bound,
                space=space,
                heldout={name: sites.heldout_units(name) for name in sites.names},
                records=records,
                records_recognised=self.records is None,
                seeds=self.seeds,
                prunes=bound.server.compares_rounds and "rounds" not in [each.field for each in space],
                trials=(),
            )
            _Trials(tuned, store, installed, sites, console).run(self.trials)
            return self._written(replace(tuned, trials=store.all))

    def _check(self) -> None:
        if self.recipe.continue_from is not None:
            raise RecipeError(
                "continue_from is set, but trials begin with the adapter that the recipe gives them: say "
                "continue_from=null"
            )
        require_dealable(self.recipe, len(self.recipe.sites.simulated))

    def _records(self, installed: SimulatedSitesLike) -> RecordsKind:
        records = self.records
        if records is None:
            if not installed.holds_demo_data(self.recipe):
                raise RecipeError(
                    "tuning looks at held-out figures, which is free on public or synthetic records alone: say what "
                    "yours are by --records public, synthetic or private"
                )
            records = RecordsKind.SYNTHETIC
        if records == RecordsKind.PRIVATE and not mechanism_of(self.recipe).protects:
            raise RecipeError(
                "privacy.mechanism is none, so nothing bounds what tuning on private records would give away: choose "
                "another mechanism, or tune on records that are public"
            )
        return records

    def _written(self, tuned: Tuned) -> TuningResult:
        best, best_hash = tuned.best, None
        if best is not None:
            values: Mapping[str, FieldValue] = {} if best.number == AS_WRITTEN else best.values
            wanted = with_values(self.recipe, values)
            best_hash = wanted.hash
            text = best_recipe_text(self.path, self.overrides, values, wanted)
            write_atomically(self.directory / BEST, text.encode())
        told = tuned.told(best_hash)
        recipe_text = yaml.safe_dump(tuned.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        write_atomically(self.directory / JSON, f"{told.model_dump_json(indent=2)}\n".encode())
        write_atomically(self.directory / PAGE, render_tuning(told, recipe_text).encode())
        return told


@dataclass(frozen=True)
class _Trials:
    """The trials of one tuning, one after the other."""

    tuned: Tuned
    store: TrialStore
    installed: SimulatedSitesLike
    sites: UnsealedSitesLike
    console: Console

    def run(self, count: int) -> None:
        missing = [number for number in range(1, count + 1) if self.store.find(number) is None]
        for line in self._words(count, missing):
            self.console.print(line, highlight=False, soft_wrap=True, markup=False)
        for number in missing:
            trial = self._tried(number)
            self.store.keep(trial)
            self.console.print(_line(trial, HeldoutFigure.of(self.tuned.recipe)), soft_wrap=True)

    def _words(self, count: int, missing: list[int]) -> Iterator[str]:
        tuned = self.tuned
        yield f"Searching {', '.join(each.text for each in tuned.space)}"
        yield f"{count_text(count, 'trial')} of {count_text(tuned.seeds, 'seed')}, {len(missing)} to run"
        if tuned.records == RecordsKind.PRIVATE and missing:
            # Before the first of them: what they are does not depend on what comes of any.
            begun = [self._begun(number)[0] for number in missing]
            price = replace(tuned, trials=(*self.store.all, *begun)).price()
            if price is not None:
                yield f"When all of it is done: {price.sentence}"

    def _begun(self, number: int) -> tuple[TuningTrial, Hopeless]:
        """What a trial is to be: `refused` if there is no such recipe, else as if it had been done."""
        tuned: Tuned = self.tuned
        hopeless: Hopeless = never_hopeless
        values: dict[str, FieldValue] = {each.field: value_of(tuned.recipe, each.field) for each in tuned.space}
        if number != AS_WRITTEN:
            better = HeldoutFigure.of(tuned.recipe).better
            suggested = suggestion(tuned.space, self.store.before(number), number, better, tuned.records)
            values, hopeless = suggested.values, suggested.is_hopeless if tuned.prunes else never_hopeless
        begun = TuningTrial(subject=self.store.subject, number=number, values=values, end="done")
        try:
            privacy_plan(tuned.recipe_of(begun), len(tuned.sites))
        except (RecipeError, BudgetError) as error:
            return begun.model_copy(update={"end": "refused", "reason": str(error)}), hopeless
        return begun, hopeless

    def _tried(self, number: int) -> TuningTrial:
        begun, hopeless = self._begun(number)
        if not begun.was_trained:
            return begun
        recipe = self.tuned.recipe_of(begun)
        try:
            sites = self._sites_of(recipe)
        except ModelError as error:
            return begun.model_copy(update={"end": "refused", "reason": str(error)})
        with self.console.status(f"trial {number}") as status:
            return TrialRun(begun, recipe, sites, self.tuned.records, self.tuned.seeds, hopeless, status.update).run()

    def _sites_of(self, recipe: Recipe) -> UnsealedSitesLike:
        """With the model that the trial's recipe asks for, which is another one if its adapter is.

        Raises:
            ModelError: the base model takes no such adapter.
        """
        if not any(each.field.partition(".")[0] in OF_THE_ADAPTER for each in self.tuned.space):
            return self.sites
        return self.installed.unsealed(self.installed.resolve(recipe))


def _line(trial: TuningTrial, heldout: HeldoutFigure) -> Text:
    line = Text(f"trial {trial.number}: ")
    if trial.figure is not None:
        line.append(f"{heldout.name} ").append(heldout.text(trial.figure), style="bold")
    else:
        line.append(trial.end, style="bold").append(f": {trial.reason}" if trial.reason else "")
    said = " ".join(overrides_of(trial)) or "the recipe as it is"
    return line.append(f"  {said}", style="dim")
