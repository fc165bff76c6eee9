"""What follows from the trials of a tuning: which is best, whether that is more than luck, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sealora_common.canonical import canonical_json
from sealora_common.privacy.heldout_noise import noise_of_sum
from sealora_common.recipe import Recipe
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.records.share_interval import NORMAL_QUANTILE
from sealora_common.show.quantities import count_text
from sealora_server.comparison.difference_text import difference_text, reach_text
from sealora_server.comparison.uncertainty import difference, half_interval
from sealora_server.tuning.price import TuningPrice, tuning_price
from sealora_server.tuning.records_kind import RecordsKind
from sealora_server.tuning.result import TrialFigures, TuningGain, TuningResult
from sealora_server.tuning.search.field_value import with_values
from sealora_server.tuning.search.search_space import Searched
from sealora_server.tuning.trials import AS_WRITTEN, TuningTrial

_SAMPLERS = {True: "at random, without a look at any figure", False: "by what the trials before came to (TPE)"}


@dataclass(frozen=True)
class Tuned:
    """All that a tuning has come to.

    Attributes:
        recipe: as it was given, bound to its base model.
        space: what was searched.
        heldout: how many held-out records (persons) each site has that are evaluated, by its name.
        records: what they are.
        records_recognised: whether nobody said so.
        seeds: of each trial.
        prunes: whether trials may end early.
        trials: by number.
    """

    recipe: Recipe
    space: tuple[Searched, ...]
    heldout: Mapping[str, int]
    records: RecordsKind
    records_recognised: bool
    seeds: int
    prunes: bool
    trials: Sequence[TuningTrial]

    @property
    def sites(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.heldout)

    @property
    def best(self) -> TuningTrial | None:
        """The trial with the best figure, of equal ones the first; None if none was carried through."""
        done = [trial for trial in self.trials if trial.figure is not None]
        sign = 1 if HeldoutFigure.of(self.recipe).better == "lower" else -1
        return min(done, key=lambda trial: sign * (trial.figure or 0.0), default=None)

    def recipe_of(self, trial: TuningTrial) -> Recipe:
        """What the trial was run with.

        Raises:
            RecipeError: it was refused by the schema.
        """
        return self.recipe if trial.number == AS_WRITTEN else with_values(self.recipe, trial.values)

    def price(self) -> TuningPrice | None:
        """Of private records what all trials cost; None of others."""
        if self.records != RecordsKind.PRIVATE:
            return None
        tried = [self.recipe_of(trial) for trial in self.trials if trial.was_trained]
        return tuning_price(self.recipe, tried, self.seeds, len(self.sites))

    def told(self, best_hash: str | None) -> TuningResult:
        """All of it as pages tell it.

        Args:
            best_hash: of the best trial's recipe as it is written.
        """
        recipe, best = self.recipe, self.best
        return TuningResult(
            recipe=recipe.name,
            recipe_hash=recipe.hash,
            base_model=recipe.model.base,
            unit=recipe.data.unit,
            mechanism=recipe.privacy.mechanism,
            heldout=HeldoutFigure.of(recipe),
            sites=self.sites,
            records=self.records,
            records_recognised=self.records_recognised,
            searched=tuple(each.text for each in self.space),
            fields=tuple(each.field for each in self.space),
            sampler=_SAMPLERS[self.records == RecordsKind.PRIVATE],
            prunes=self.prunes,
            seeds=self.seeds,
            trials=tuple(self._figures(trial) for trial in self.trials),
            best=None if best is None else best.number,
            best_overrides=() if best is None else overrides_of(best),
            best_recipe_hash=best_hash,
            gain=self._gain(best),
            price=self.price(),
            notes=tuple(self._notes(best)),
        )

    def _figures(self, trial: TuningTrial) -> TrialFigures:
        return TrialFigures(
            number=trial.number,
            values=trial.values,
            end=trial.end,
            reason=trial.reason,
            figure=trial.figure,
            spread=trial.spread,
            noise=None if trial.figure is None or self.records != RecordsKind.PRIVATE else self._noise(trial),
        )

    def _noise(self, trial: TuningTrial) -> float:
        """Of a mean over sites and seeds: how many a site has held out is as public as how many it trains on."""
        of_sum = noise_of_sum(self.recipe_of(trial))
        return (
            math.hypot(*(of_sum / units for units in self.heldout.values())) / len(self.sites) / math.sqrt(self.seeds)
        )

    def _gain(self, best: TuningTrial | None) -> TuningGain | None:
        as_written = next((trial for trial in self.trials if trial.number == AS_WRITTEN), None)
        if best is None or as_written is None or as_written.figure is None or best.number == AS_WRITTEN:
            return None
        assert best.figure is not None  # noqa: S101 (it has the best one)
        value, heldout = best.figure - as_written.figure, HeldoutFigure.of(self.recipe)
        reach = self._reach(best, as_written)
        apart = reach is not None and abs(value) > reach
        told = difference_text(heldout, value) if reach is None else reach_text(heldout, reach, value)
        by = (
            "noise" if self.records == RecordsKind.PRIVATE else "held-out records",
            *(("seeds",) if self.seeds > 1 else ()),
        )
        open_to = f"the uncertainty by {' and '.join(by)} (95 %)"
        within = (
            f"beyond {open_to}, but the best of {len(self.trials)} was chosen by this very figure"
            if apart
            else f"within {open_to}: the values may be no better than the recipe's own"
        )
        return TuningGain(
            value=value,
            uncertainty=reach,
            is_told_apart=apart,
            sentence=f"Trial {best.number} minus the recipe as it is: {told}, which is {within}.",
        )

    def _reach(self, best: TuningTrial, other: TuningTrial) -> float | None:
        """Half of the 95 % interval of their difference."""
        if self.records != RecordsKind.PRIVATE:
            return difference(best.outcomes, other.outcomes).uncertainty
        by_noise = NORMAL_QUANTILE * math.hypot(self._noise(best), self._noise(other))
        if best.spread is None or other.spread is None:
            return by_noise
        # What differs between seeds has the noise in it.
        return max(by_noise, half_interval(math.hypot(best.spread, other.spread), self.seeds))

    def _notes(self, best: TuningTrial | None) -> list[str]:
        notes = []
        if self.records == RecordsKind.PRIVATE:
            notes.append(
                "The figures carry the noise of the recipe's evaluations, and no exact one was looked at. Values were "
                "drawn before the first trial: a number of trials that is raised after a look at them is no longer "
                "covered by the price."
            )
        else:
            said = "recognised as those of demo-data" if self.records_recognised else f"{self.records} by your word"
            notes.append(
                f"The figures are exact and have no noise: that is free as the records are {said}, and a release of "
                "records that are not."
            )
        notes.append(
            "The best of several figures is better than it will be again, as it was chosen for it: judge the recipe on "
            "held-out records that took no part."
        )
        for end, what in (
            ("refused", "refused by the recipe's schema or the model"),
            ("diverged", "diverged"),
            ("pruned", "ended early, as the median of the trials before was better"),
        ):
            count = sum(trial.end == end for trial in self.trials)
            if count:
                notes.append(f"{count_text(count, 'trial')} {what}.")
        if best is not None and best.number == AS_WRITTEN:
            notes.append(f"None of {count_text(len(self.trials), 'trial')} was better than the recipe as it is.")
        return notes


def overrides_of(trial: TuningTrial) -> tuple[str, ...]:
    """A trial's values, as they can be given after a recipe; none of the recipe as it is."""
    if trial.number == AS_WRITTEN:
        return ()
    return tuple(f"{field}={_override_text(value)}" for field, value in trial.values.items())


def _override_text(value: object) -> str:
    """As an override is read: YAML, in which 1e-05 would be text."""
    text = canonical_json(value).decode()
    if isinstance(value, float) and "e" in text and "." not in text:
        return text.replace("e", ".0e")
    return text.strip('"')
