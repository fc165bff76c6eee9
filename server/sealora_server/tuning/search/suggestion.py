"""Which values a trial takes, and whether it is worth going on with: Optuna's samplers and its median pruner.

Both follow from the trials before it and its number alone, so a tuning that was interrupted goes on as it would have.

Of private records the values are drawn without looking at any figure. What each trial is charged then is fixed before
the first one, as composing their costs needs it to be: a cost that was chosen by what was seen is another matter
(Rogers, Roth, Ullman & Vadhan 2016, arXiv:1605.08294).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sealora_common.canonical import canonical_json
from sealora_common.errors import SealoraError
from sealora_common.recipe.text import FieldValue
from sealora_server.tuning.records_kind import RecordsKind
from sealora_server.tuning.search.search_space import Searched, SearchedRange
from sealora_server.tuning.trials import TuningTrial

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

MISSING = 'tuning needs the package optuna, which is not installed: pip install "sealora[tune]"'

Hopeless = Callable[[int, float], bool]
"""Told how many rounds are trained and the figure of that: whether the median of the trials before was better."""


@dataclass(frozen=True)
class Suggestion:
    """What a trial is to be.

    Attributes:
        values: of the searched fields.
        is_hopeless: see `Hopeless`.
    """

    values: dict[str, FieldValue]
    is_hopeless: Hopeless


def require_optuna() -> None:
    """Refuses to begin without it.

    Raises:
        SealoraError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise SealoraError(MISSING) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def suggestion(
    space: Sequence[Searched],
    before: Sequence[TuningTrial],
    number: int,
    better: Literal["lower", "higher"],
    records: RecordsKind,
) -> Suggestion:
    """What the trial with this number is to be.

    Args:
        space: what is searched.
        before: the trials with smaller numbers.
        number: from 2, as 1 is the recipe as it is.
        better: which figures are.
        records: of `private` ones nothing that came of `before` is looked at for the values.
    """
    study = _study(space, before, number, better, records)
    asked = study.ask(fixed_distributions={each.field: _distribution(each) for each in space})
    values = {each.field: _value(each, asked.params[each.field]) for each in space}
    return Suggestion(values, lambda rounds, figure: _is_hopeless(asked, rounds, figure))


def never_hopeless(rounds: int, figure: float) -> bool:
    """Of a trial that is carried through whatever it shows."""
    return False


def _is_hopeless(asked: Trial, rounds: int, figure: float) -> bool:
    asked.report(figure, rounds)
    return bool(asked.should_prune())


def _study(
    space: Sequence[Searched],
    before: Sequence[TuningTrial],
    number: int,
    better: Literal["lower", "higher"],
    records: RecordsKind,
) -> Study:
    import optuna

    seed = int.from_bytes(hashlib.sha256(f"sealora tune {number}".encode()).digest()[:4], "big")
    samplers = optuna.samplers
    sampler = samplers.RandomSampler(seed=seed) if records == RecordsKind.PRIVATE else samplers.TPESampler(seed=seed)
    study = optuna.create_study(
        direction="minimize" if better == "lower" else "maximize", sampler=sampler, pruner=optuna.pruners.MedianPruner()
    )
    for trial in before:
        if all(each.holds(trial.values[each.field]) for each in space):
            study.add_trial(_told(space, trial))
    return study


def _told(space: Sequence[Searched], trial: TuningTrial) -> FrozenTrial:
    """A trial as Optuna has it: one that has no figure counts as worse than all that have."""
    from optuna.trial import TrialState, create_trial

    return create_trial(
        state=TrialState.PRUNED if trial.figure is None else TrialState.COMPLETE,
        value=trial.figure,
        params={each.field: _name(each, trial.values[each.field]) for each in space},
        distributions={each.field: _distribution(each) for each in space},
        intermediate_values={each.rounds: each.figure for each in trial.on_the_way if each.figure is not None},
    )


def _distribution(searched: Searched) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(searched, SearchedRange):
        return CategoricalDistribution(searched.names)
    if searched.whole:
        return IntDistribution(int(searched.low), int(searched.high), log=searched.log)
    return FloatDistribution(searched.low, searched.high, log=searched.log)


def _value(searched: Searched, drawn: object) -> FieldValue:
    if isinstance(searched, SearchedRange):
        assert isinstance(drawn, int | float)  # noqa: S101 (of a range)
        return searched.rounded(drawn)
    return searched.values[searched.names.index(str(drawn))]


def _name(searched: Searched, value: FieldValue) -> FieldValue:
    """As Optuna knows the value."""
    if isinstance(searched, SearchedRange):
        return value
    names = {canonical_json(each): name for each, name in zip(searched.values, searched.names, strict=True)}
    return names[canonical_json(value)]
