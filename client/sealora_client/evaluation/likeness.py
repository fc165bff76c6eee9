"""How like an answer is to the right one, for answers that the model writes itself: BLEU, chrF and ROUGE-L.

The right answer is the response as the model is shown it: what `data.max_tokens` cut off is missed in no answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.evaluation.accuracy import Accuracy
from sealora_client.evaluation.by_unit import values_by_unit
from sealora_client.evaluation.metric import PublicRange, ReleasedMetric
from sealora_client.evaluation.text_scores import likeness_score
from sealora_client.evaluation.written import right_answer, written_answers
from sealora_client.model.adapted import AdaptedModel
from sealora_common.recipe import Recipe
from sealora_common.recipe.sections.evaluation import AnswerMetricName
from sealora_common.records.heldout_figure import HeldoutFigure


class LikenessMetric(ReleasedMetric):
    """The mean over records of their answers' likeness to the response, from 0 to 1.

    Args:
        name: which likeness.

    Raises:
        ModelError: the package that tells it is not installed.
    """

    def __init__(self, name: AnswerMetricName) -> None:
        self._score = likeness_score(name)

    def public_range(self, recipe: Recipe) -> PublicRange:
        """All of it."""
        return PublicRange(0.0, HeldoutFigure.of(recipe).range_width(recipe), worst=0.0)

    def measure(self, model: AdaptedModel, population: Population, recipe: Recipe) -> Accuracy:
        """As the base says. A record that could not be shown to the model is like nothing."""
        size, most = recipe.training.micro_batch_size, recipe.evaluation.max_new_tokens

        def rows(examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
            # Whoever orders an evaluation sees how long it takes, and has chosen the adapter.
            written = written_answers(model, recipe, examples, most, in_all_steps=True)
            values = [
                self._likeness(answer.text, right_answer(model.tokenizer, example)) if example.response_length else 0.0
                for answer, example in zip(written, examples, strict=True)
            ]
            asked = [int(example.response_length > 0) for example in examples]
            return torch.tensor(values, dtype=torch.float64), torch.tensor(asked)

        found = values_by_unit(model, population, size, rows)
        return Accuracy(hits=found.total, terms=found.terms, by_unit=found.by_unit)

    def _likeness(self, answer: str, right: str) -> float:
        try:
            return min(max(self._score(answer, right), 0.0), 1.0)
        except Exception:  # a text that a library fails on is one record's, of which no round may tell
            return 0.0
