"""One model on the records of an evaluation: what it loses, says and how sure it is, record by record.

It takes the micro-batches of fixed shape in which the federation's metrics are computed, so that both say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sealora_client.data.example import Example
from sealora_client.evaluation.written import right_answer, written_answers
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.fixed_shape import micro_batches
from sealora_client.model.loss import Batch
from sealora_client.objective.causal import CausalLanguageModelling
from sealora_client.objective.choice import classification_of, objective_of
from sealora_client.objective.objective import Losses, Objective
from sealora_common.recipe import Recipe

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class AnswerValues:
    """What a causal model answers, a value for each of N records.

    Attributes:
        exact: int64 (N,): 1 where greedy decoding gives the response to the letter, the end of turn included.
        texts: what it writes, greedily.
        right: what it should have.
        probability: float64 (N,): that the model gives to what it wrote, as a whole.
        cut: how many answers were not at their end.
    """

    exact: Integers
    texts: tuple[str, ...]
    right: tuple[str, ...]
    probability: Floats
    cut: int


@dataclass(frozen=True)
class ClassValues:
    """Which class a model finds likeliest, a value for each of N records.

    Attributes:
        words: of the classes.
        likeliest: int64 (N,), numbers of `words`.
        right: likewise.
        probability: float64 (N,), of the likeliest among the classes.
    """

    words: tuple[str, ...]
    likeliest: Integers
    right: Integers
    probability: Floats


@dataclass(frozen=True)
class RecordValues:
    """One model's.

    Attributes:
        loss: float64 (N,): each record's sum of its losses.
        terms: float64 (N,): of how many terms, as the objective counts them.
        token_hits: float64 (N,): of those terms the ones that are the likeliest token; None where terms are no tokens.
        answers: None where nothing is asked, or of an objective that is not causal.
        classes: of a classification.
    """

    loss: Floats
    terms: Floats
    token_hits: Floats | None = None
    answers: AnswerValues | None = None
    classes: ClassValues | None = None


def asks(recipe: Recipe) -> bool:
    """Whether records have a prompt to which there is a right answer in the model's own words."""
    return recipe.objective.kind == "causal" and recipe.data.layout != "text"


def measured(model: AdaptedModel, recipe: Recipe, examples: Sequence[Example], most: int) -> RecordValues:
    """The model as it is now, adapter on or off, on N records.

    Args:
        model: in `eval()` mode.
        recipe: of the run.
        examples: one a record, each with what follows it; none a placeholder.
        most: tokens of an answer.
    """
    objective, on = objective_of(recipe), _On(model, recipe)
    pieces = [piece for example in examples for piece in example.pieces]
    owners = np.repeat(np.arange(len(examples)), [len(example.pieces) for example in examples])

    def by_record(value: Callable[[Batch], Losses]) -> tuple[Floats, Floats]:
        sums, counts = on.each(objective, pieces, value)
        first, second = (np.bincount(owners, part, len(examples)).astype(np.float64) for part in (sums, counts))
        return first, second

    with torch.no_grad():
        loss, terms = by_record(lambda batch: objective.losses(model, batch))
        if recipe.objective.kind == "classification":
            return RecordValues(loss, terms, classes=_classes(on, examples))
        if not isinstance(objective, CausalLanguageModelling):
            return RecordValues(loss, terms)
        hits, _ = by_record(lambda batch: objective.hits(model, batch))
        return RecordValues(loss, terms, hits, _answers(on, examples, most) if asks(recipe) else None)


@dataclass(frozen=True)
class _On:
    """The model, and the recipe that says how many examples are in memory at once."""

    model: AdaptedModel
    recipe: Recipe

    @property
    def size(self) -> int:
        return self.recipe.training.micro_batch_size

    def each(
        self, objective: Objective, examples: Sequence[Example], value: Callable[[Batch], Losses]
    ) -> tuple[Floats, Floats]:
        """Each example's sum and number of terms, float64 (examples,)."""
        sums, counts = np.zeros(len(examples)), np.zeros(len(examples))
        for places in micro_batches(examples, self.size):
            own = [examples[place] for place in places]
            found = value(objective.batch(own, self.model.pad_id, self.model.device, self.size))
            sums[places] = found.sums[: len(own)].double().cpu().numpy()
            counts[places] = found.counts[: len(own)].cpu().numpy()
        return sums, counts


def _answers(on: _On, examples: Sequence[Example], most: int) -> AnswerValues:
    model, objective = on.model, CausalLanguageModelling()
    asked = [replace(example, earlier=()) for example in examples]  # of a conversation the last response
    hits, counts = on.each(objective, asked, lambda batch: objective.hits(model, batch))
    texts, cut = [""] * len(asked), 0
    said = list(asked)
    for places in micro_batches(asked, on.size):
        own = [asked[place] for place in places]
        for place, example, answer in zip(places, own, written_answers(model, on.recipe, own, most), strict=True):
            texts[place], cut = answer.text, cut + answer.is_cut
            prompt, response = example.tokens[: example.prompt_length], np.asarray(answer.tokens, dtype=np.int32)
            said[place] = replace(example, tokens=np.concatenate([prompt, response]))
    loss, _ = on.each(objective, said, lambda batch: objective.losses(model, batch))
    return AnswerValues(
        exact=(hits == counts).astype(np.int64),
        texts=tuple(texts),
        right=tuple(right_answer(model.tokenizer, example) for example in asked),
        probability=np.exp(-loss),
        cut=cut,
    )


def _classes(on: _On, examples: Sequence[Example]) -> ClassValues:
    model, objective = on.model, classification_of(on.recipe)
    numbers = {token: number for number, token in enumerate(objective.tokens(model.tokenizer))}
    likeliest, _ = on.each(objective, examples, lambda batch: objective.likeliest(model, batch))
    probability, _ = on.each(objective, examples, lambda batch: objective.confidence(model, batch))
    return ClassValues(
        words=objective.words,
        likeliest=likeliest.astype(np.int64),
        right=np.array([numbers[int(example.tokens[example.prompt_length])] for example in examples], dtype=np.int64),
        probability=probability,
    )
