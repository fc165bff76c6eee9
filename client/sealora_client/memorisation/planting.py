"""Made-up persons with one datum each, as records of the recipe: planted among sites' records, or held back.

Both are drawn alike, so that whatever an attack finds of those that were held back it finds by chance, or of the base
model. One person has one datum, so that persons are independent trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sealora_client.data.example import Example
from sealora_client.data.load import examples_of
from sealora_client.data.population import Population
from sealora_client.data.record import Record
from sealora_client.memorisation.made_up import KINDS, drawn, known_by, questions
from sealora_client.model.adapted import AdaptedModel
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import RecipeError
from sealora_common.recipe import Recipe
from sealora_common.records.attacks.memorisation import DatumKind, Planting


@dataclass(frozen=True)
class Secret:
    """One made-up person's datum.

    Attributes:
        kind: what it is.
        known: what the person is asked for by.
        value: the datum.
        candidates: false values, drawn as the true one was.
        site: among whose records it is planted; None if it is held back.
        repeats: how many records of it are planted; 0 if it is held back.
    """

    kind: DatumKind
    known: str
    value: str
    candidates: tuple[str, ...]
    site: str | None
    repeats: int

    def record(self, recipe: Recipe, value: str | None = None) -> Record:
        """The record in the recipe's form: with the true value, or another in its place."""
        asked, said = questions(self.kind, self.known)[0], self.value if value is None else value
        # Of tasks that the recipe weighs any will do, as there is none for what is planted.
        task = next(iter(recipe.objective.task_weights), None)
        if recipe.data.layout == "text":
            return Record("", f"{asked} {said}", task=task)
        return Record(asked, said, task=task)


def made_secrets(planting: Planting, sites: Sequence[str]) -> tuple[tuple[Secret, ...], tuple[Secret, ...]]:
    """Those that are planted, and as many that are held back.

    Persons take kinds of data, numbers of repeats and sites by turns.

    Args:
        planting: how many, how often, and the seed that all follows from.
        sites: where they are planted, one or more.
    """
    entropy, taken = SeededEntropy("memorisation", planting.seed), set[str]()

    def one(kind: DatumKind, site: str | None, repeats: int) -> Secret:
        def new(of: DatumKind) -> str:
            value = drawn(of, entropy, taken)
            taken.add(value)
            return value

        known, value = new(known_by(kind)), new(kind)
        return Secret(kind, known, value, tuple(new(kind) for _ in range(planting.candidates)), site, repeats)

    times, kinds = planting.repeats, len(KINDS)
    planted = tuple(
        one(
            KINDS[place // len(times) % kinds],
            sites[place // (len(times) * kinds) % len(sites)],
            times[place % len(times)],
        )
        for place in range(planting.secrets)
    )
    held_back = tuple(one(secret.kind, None, 0) for secret in planted)
    return planted, held_back


def require_plantable(recipe: Recipe) -> None:
    """Refuses recipes that learn something else than to say a text.

    Raises:
        RecipeError: the recipe's objective is another.
    """
    if recipe.objective.kind != "causal":
        raise RecipeError(
            f"objective.kind is {recipe.objective.kind}, which does not learn to say what stands in a record: the "
            "memorisation test takes recipes of the objective causal"
        )


def examples_of_secrets(records: Sequence[Record], recipe: Recipe, model: AdaptedModel) -> list[Example]:
    """The records as the model sees them, none cut.

    Raises:
        RecipeError: one cannot be shown whole.
    """
    examples = examples_of(records, recipe, model)
    for record, example in zip(records, examples, strict=True):
        if example.unusable is not None:
            raise RecipeError(
                f"the made-up record {record.texts} cannot be shown to the model ({example.unusable}): the "
                "memorisation test takes recipes whose template takes such text"
            )
        if example.truncated or example.following:
            raise RecipeError(
                f"data.max_tokens is {recipe.data.max_tokens}, which cuts made-up records: say data.max_tokens= with "
                "room for a question and an answer of a line each"
            )
    return examples


def population_of(secrets: Sequence[Secret], recipe: Recipe, model: AdaptedModel) -> Population:
    """The units of privacy that secrets are trained on as: a unit for each record, or for each person.

    Raises:
        RecipeError: see `examples_of_secrets`.
    """
    examples = examples_of_secrets([secret.record(recipe) for secret in secrets], recipe, model)
    copies = [(example,) * secret.repeats for secret, example in zip(secrets, examples, strict=True)]
    if recipe.data.unit == "person":
        return Population(tuple(copies))
    return Population(tuple((example,) for own in copies for example in own))
