"""Classification: which of the agreed words answers a text, with no word but those.

The model is given the text as ever, and of what it says next only the words of `data.labels` count: the loss is the
cross-entropy among the tokens that they begin with. So the words must begin with different tokens. It is of one record,
and no set of labels is read from a site's records: a class that a site happens not to have is a class all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from sealora_client.data.example import Example
from sealora_client.data.examples import to_examples
from sealora_client.data.record import Record
from sealora_client.data.templates.framed import NEUTRAL
from sealora_client.model.loss import Batch, sum_of_responses
from sealora_client.objective.objective import Losses, Objective
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.data import DataSection

if TYPE_CHECKING:
    from sealora_client.model.adapted import AdaptedModel

_ValueAmong = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Classification(Objective):
    """The cross-entropy among the classes, in nats; counts are records.

    Attributes:
        section: says what the classes are, and what is put around texts.
        weights: how much an example of each label counts in training; 1 if it is not named.
    """

    section: DataSection
    weights: Mapping[str, float]

    @property
    def words(self) -> tuple[str, ...]:
        """What the model says for each class, once each."""
        words = self.section.labels.values()
        return tuple(dict.fromkeys(word.strip() if self.section.trim else word for word in words))

    def tokens(self, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
        """The token that each of `words` begins with, all different.

        Raises:
            ModelError: two words begin alike, or one cannot be shown to the model.
        """
        return _first_tokens(tokenizer, self.words, self.section.system_prompt, self.section.template_date)

    def examples(
        self,
        records: Sequence[Record],
        tokenizer: PreTrainedTokenizerBase,
        section: DataSection,
        vocabulary: int | None = None,
    ) -> list[Example]:
        """The text up to where the answer begins, and the token that its class begins with.

        Raises:
            ModelError: as for `tokens`, or the model lacks one of them.
        """
        token_of = dict(zip(self.words, self.tokens(tokenizer), strict=True))
        if vocabulary is not None and max(token_of.values()) >= vocabulary:
            raise ModelError(
                "the base model has no embedding for a token that a word of data.labels begins with: choose other words"
            )
        shown = zip(records, to_examples(records, tokenizer, section, vocabulary), strict=True)
        weight_of = self._weight_of_words
        return [
            _classified(example, token_of[record.response], weight_of.get(record.response, 1.0))
            for record, example in shown
        ]

    def made_up(self, sequences: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Example:
        """All but the last token as the text, and a class that follows from the last."""
        (sequence,), tokens = sequences, self.tokens(tokenizer)
        if not len(sequence.tokens):
            return sequence
        made = sequence.tokens.copy()
        made[-1] = tokens[int(made[-1]) % len(tokens)]
        return Example(made, prompt_length=len(made) - 1)

    def losses(self, model: AdaptedModel, batch: Batch) -> Losses:
        """See above."""
        return self._of_answers(_cross_entropy, model, batch)

    def hits(self, model: AdaptedModel, batch: Batch) -> Losses:
        """Of each example 1 where its class is the likeliest, else 0; the first class of several that are equally so.

        Args:
            model: computes where the batch lies; left as it is.
            batch: from `batch`.
        """
        return self._of_answers(_hit, model, batch)

    def likeliest(self, model: AdaptedModel, batch: Batch) -> Losses:
        """Of each example the number, in `words`, of the class that is the likeliest: the one that `hits` compares."""
        return self._of_answers(_likeliest, model, batch)

    def confidence(self, model: AdaptedModel, batch: Batch) -> Losses:
        """Of each example the probability, among the classes, of the one that is the likeliest."""
        return self._of_answers(_confidence, model, batch)

    def _of_answers(self, value: _ValueAmong, model: AdaptedModel, batch: Batch) -> Losses:
        among = torch.tensor(self.tokens(model.tokenizer), device=batch.tokens.device)
        return Losses(sum_of_responses(model.model, batch, partial(value, among)), batch.token_count)

    @property
    def _weight_of_words(self) -> dict[str, float]:
        labels = self.section.labels
        return {
            labels[label].strip() if self.section.trim else labels[label]: weight
            for label, weight in self.weights.items()
        }


def _cross_entropy(among: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    likelihoods = functional.log_softmax(logits.index_select(1, among).float(), dim=1)
    return -torch.where(targets[:, None] == among, likelihoods, 0.0).sum(dim=1)


def _hit(among: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (among[logits.index_select(1, among).argmax(dim=1)] == targets).float()


def _likeliest(among: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return logits.index_select(1, among).argmax(dim=1).float()


def _confidence(among: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.softmax(logits.index_select(1, among).float(), dim=1).amax(dim=1)


def _classified(example: Example, token: int, weight: float) -> Example:
    if example.unusable is not None:
        return example
    if example.tokens[example.prompt_length] != token:  # the text and the word meet in one token
        return Example.placeholder("label")
    return replace(example, tokens=example.tokens[: example.prompt_length + 1], weight=weight)


@lru_cache(maxsize=8)
def _first_tokens(
    tokenizer: PreTrainedTokenizerBase, words: tuple[str, ...], system_prompt: str | None, template_date: date | None
) -> tuple[int, ...]:
    section = DataSection(layout="labelled", system_prompt=system_prompt, template_date=template_date)
    shown = to_examples([Record(NEUTRAL, word) for word in words], tokenizer, section)
    found: dict[int, str] = {}
    for word, example in zip(words, shown, strict=True):
        if example.unusable is not None:
            raise ModelError(f"the base model cannot be shown the word {word!r} of data.labels: choose another")
        token = int(example.tokens[example.prompt_length])
        if token in found:
            raise ModelError(
                f"the words {found[token]!r} and {word!r} of data.labels begin with the same token of the base model, "
                "so that one answer would stand for both: choose words that begin differently"
            )
        found[token] = word
    return tuple(found)
