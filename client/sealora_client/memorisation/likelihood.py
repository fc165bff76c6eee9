"""How likely the model finds a secret: beside false ones (exposure), and beside what it found before it was trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sealora_client.data.population import Population
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.memorisation.planting import Secret, examples_of_secrets
from sealora_client.model.adapted import AdaptedModel
from sealora_common.recipe import Recipe


class CandidateLosses:
    """The losses of secrets and of the candidates for each, under whatever adapter is in the model.

    Args:
        secrets: one or more, with as many candidates each.
        recipe: says how records are shown, and how many examples are in memory at once.
        model: its tokenizer is used.

    Raises:
        RecipeError: a record cannot be shown to the model whole.
    """

    def __init__(self, secrets: Sequence[Secret], recipe: Recipe, model: AdaptedModel) -> None:
        records = [secret.record(recipe, value) for secret in secrets for value in (secret.value, *secret.candidates)]
        examples = examples_of_secrets(records, recipe, model)
        self._recipe, self._model = recipe, model
        self._each = 1 + len(secrets[0].candidates)
        self._population = Population(tuple((example,) for example in examples))
        self._tokens = np.array([int(example.learned.sum()) for example in examples], dtype=np.float64)

    def measure(self) -> NDArray[np.float64]:
        """Negative log-likelihoods in nats: float64, shape (secrets, 1 + candidates), the true value's first.

        All candidates for one secret stand behind one question, so whole records compare as their values do.
        """
        means = HeldoutLossMetric().measure(self._model, self._population, self._recipe).by_unit
        return (means * self._tokens).reshape(-1, self._each)

    @property
    def tokens(self) -> NDArray[np.float64]:
        """Learned tokens of each true record: float64, shape (secrets,)."""
        return self._tokens[:: self._each]


def ranks(losses: NDArray[np.float64]) -> NDArray[np.int64]:
    """The true values' ranks, from 1, the likeliest first (Carlini et al. 2019, arXiv:1802.08232, sec. 4.2).

    Args:
        losses: float64, shape (n, k), the true values' first. One that is no number ranks last.
    """
    likelier = (losses[:, 1:] < losses[:, :1]).sum(axis=1)
    return np.asarray(np.where(np.isfinite(losses[:, 0]), 1 + likelier, losses.shape[1]), dtype=np.int64)
