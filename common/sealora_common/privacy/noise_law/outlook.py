"""What a recipe promises, costs and is worth for sites with so many units each: the figures of `sealora plan`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict

from sealora_common.adapter import AdapterLayout, adapter_kind
from sealora_common.errors import BudgetError, RecipeError
from sealora_common.privacy.accounting import epsilon_pld
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.privacy.noise_law.alternatives import Alternative, advice, alternatives, recommended
from sealora_common.privacy.noise_law.layers import NamedLayers, layers_alone
from sealora_common.privacy.noise_law.step_noise import StepNoise, layout_of_size
from sealora_common.privacy.noise_law.worth import AGREEMENT, FEWEST_ASSUMED, USUAL_ASSUMED, drowned, worth
from sealora_common.privacy.plan import Part, privacy_plan
from sealora_common.recipe import Recipe
from sealora_common.recipe.sections.data import Unit
from sealora_common.round.contribution import ContributionLayout
from sealora_common.round.groups import require_dealable

_Trained = Callable[[int], AdapterLayout]
"""What is trained in a round, the first being 1."""


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Choice(_Figures):
    """One way to spend compute. Noise and norms are in clipping norms C, on the mean gradient over all sites."""

    changes: tuple[str, ...]
    """What to write, as the command line takes it; none for the recipe itself."""
    compute: float
    """q times steps, over the recipe's."""
    rounds: int
    steps_per_round: int
    sample_rate: float
    steps: int
    """Of the whole run."""
    expected_units: float
    """That a step is expected to draw, all sites together."""
    noise_multiplier: float
    noise: float
    """Standard deviation on each coordinate."""
    noise_in_units: float
    """The same in C / N, N the units of all sites together."""
    worth_at_best: float
    """Steps without noise that the run is worth, if all records pull one way at the full clipping norm."""
    worth: float
    """As many if records agree as they do as a rule."""


class SiteOutlook(_Figures):
    """One site."""

    name: str
    units: int
    expected_units: float
    """That a step is expected to draw."""


class Outlook(_Figures):
    """A whole recipe's. Null: there is no privacy, or the number of parameters is not known."""

    recipe: str
    mechanism: str
    unit: Unit
    sites: tuple[SiteOutlook, ...]
    own: Choice
    """The recipe as it is."""
    clip_norm: float
    """C, in the first round where it adapts."""
    parameters: int | None
    """P, trained in a round; the most of any round."""
    fewest_parameters: int
    """P, or what is taken for it in figures at best where it is not known."""
    usual_parameters: int
    """The same for figures as a rule."""
    noise_norm: float | None
    """Of the noise on all P coordinates, in C."""
    reach: float
    """The largest norm that the mean of the clipped gradients has, in C."""
    noise_as_units: float | None
    """Units that pull one way, whose sum is as long as the noise."""
    delta: float | None
    epsilon_training: float | None
    """What the recipe's rounds cost a unit that is trained on, spare rounds among them."""
    epsilon_evaluations: float | None
    """What its evaluations cost a unit that is held out."""
    epochs: float
    """How often a unit is expected to be drawn."""
    uplink_bytes: int | None
    """Masked vectors that a site sends in a whole run. Keys, shares and signatures come on top."""
    alternatives: tuple[Choice, ...]
    """Fewer and larger steps first, then more compute."""
    recommended: Choice | None
    """Of those at the same compute; null: the recipe as it is."""
    layers: tuple[NamedLayers, ...]
    """Parts of the layers, were each trained alone; none where there is one part, or what is trained is not known."""
    advice: str
    """The recommendation, in a sentence with its reason."""
    warning: str | None
    """That noise drowns the records."""
    notes: tuple[str, ...]


def outlook(
    recipe: Recipe, units: Sequence[int], names: Sequence[str], adapter: AdapterLayout | int | None = None
) -> Outlook:
    """The figures for a federation of sites with so many units each.

    Args:
        recipe: as it would be run.
        units: N of each site: training records or persons.
        names: of the sites.
        adapter: the layout of the whole adapter, or how many parameters a round trains; None if that is not known.

    Raises:
        BudgetError: no amount of noise reaches the recipe's epsilon, or its delta is too large for a site.
        RecipeError: so many sites cannot run it.
        ValueError: a site has no unit, or there is no site.
    """
    _require_runnable(recipe, units)
    parameters = None if adapter is None else trained_parameters(recipe, adapter)
    fewest, usual = (FEWEST_ASSUMED, USUAL_ASSUMED) if parameters is None else (parameters, parameters)
    choices = alternatives(recipe, units)
    own, best = choices[0].step, recommended(choices, usual)
    spent = {charge.part: charge.whole_run for charge in privacy_plan(recipe, len(units)).charges}

    def epsilon(part: Part) -> float | None:
        return epsilon_pld([spent[part]], recipe.privacy.delta) if part in spent else None

    return Outlook(
        recipe=recipe.name,
        mechanism=recipe.privacy.mechanism,
        unit=recipe.data.unit,
        sites=tuple(
            SiteOutlook(name=name, units=count, expected_units=drawn)
            for name, count, drawn in zip(names, units, own.expected, strict=True)
        ),
        own=_choice(choices[0], fewest, usual),
        clip_norm=recipe.privacy.clip_norm,
        parameters=parameters,
        fewest_parameters=fewest,
        usual_parameters=usual,
        noise_norm=None if parameters is None else own.norm(parameters),
        reach=own.reach,
        noise_as_units=None if parameters is None else own.as_many_units(parameters),
        delta=recipe.privacy.delta if spent else None,
        epsilon_training=epsilon("train"),
        epsilon_evaluations=epsilon("heldout"),
        epochs=recipe.expected_epochs,
        uplink_bytes=None if adapter is None else uplink_bytes(recipe, adapter, len(units)),
        alternatives=tuple(_choice(choice, fewest, usual) for choice in choices[1:]),
        recommended=None if best is None else _choice(best, fewest, usual),
        layers=layers_alone(own, _rounds(recipe, adapter), usual) if isinstance(adapter, AdapterLayout) else (),
        advice=advice(choices, usual, fewest),
        warning=drowned(recipe, units, fewest),
        notes=tuple(_notes(recipe, own)),
    )


def trained_parameters(recipe: Recipe, adapter: AdapterLayout | int) -> int:
    """P: how many parameters a round trains of the adapter; the most of any round."""
    return max(trained.size for trained in _rounds(recipe, adapter))


def uplink_bytes(recipe: Recipe, adapter: AdapterLayout | int, sites: int) -> int:
    """Bytes of the masked vectors that a site sends in all rounds and in the evaluation after the last."""
    trained, total = _trained(recipe, adapter), 0
    for number in range(1, recipe.rounds + 2):
        layout = ContributionLayout.of(
            recipe,
            trained(number) if number <= recipe.rounds else None,
            sites,
            evaluates=recipe.evaluates(number),
            rotation_seed="of some round",
        )
        total += sum(segment.packed_bytes for segment in layout.segments)
    return total


def _trained(recipe: Recipe, adapter: AdapterLayout | int) -> _Trained:
    if isinstance(adapter, AdapterLayout):
        kind = adapter_kind(recipe)
        return lambda number: kind.trained(adapter, number)
    layout = layout_of_size(adapter)
    return lambda _: layout


def _rounds(recipe: Recipe, adapter: AdapterLayout | int) -> list[AdapterLayout]:
    """What is trained in rounds, as far as they differ."""
    trained = _trained(recipe, adapter)
    return [trained(number) for number in range(1, min(recipe.rounds, 2) + 1)]  # kinds take turns by two


def _require_runnable(recipe: Recipe, units: Sequence[int]) -> None:
    if len(units) < recipe.sites.minimum:
        raise RecipeError(
            f"sites.minimum is {recipe.sites.minimum}, and there are {len(units)} sites: count more sites, or lower "
            "the minimum"
        )
    require_dealable(recipe, len(units))
    for count in units:
        try:
            mechanism_of(recipe).require_units(recipe, count)
        except BudgetError as error:
            raise BudgetError(f"a site of {count:,} {recipe.data.unit}s: {error}") from None


def _choice(made: Alternative, fewest: int, usual: int) -> Choice:
    recipe, step = made.recipe, made.step
    return Choice(
        changes=made.changes,
        compute=made.compute,
        rounds=recipe.rounds,
        steps_per_round=recipe.training.steps_per_round,
        sample_rate=step.sample_rate,
        steps=step.steps,
        expected_units=sum(step.expected),
        noise_multiplier=step.noise_multiplier,
        noise=step.noise,
        noise_in_units=step.noise_in_units,
        worth_at_best=worth(step, fewest),
        worth=worth(step, usual, AGREEMENT),
    )


def _notes(recipe: Recipe, step: StepNoise) -> list[str]:
    """What the figures leave out."""
    notes = []
    if step.noise and recipe.sealing.groups > 1:
        notes.append(
            f"The noise is that of the plain mean; sealing.combine: {recipe.sealing.combine} of "
            f"{recipe.sealing.groups} groups keeps more of it."
        )
    if step.noise and recipe.privacy.target_quantile is not None:
        notes.append("C adapts from round to round (privacy.target_quantile), and the noise with it.")
    return notes
