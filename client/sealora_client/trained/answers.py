"""Answers of a trained adapter, through the recipe's own template and system prompt, and with no network."""

from __future__ import annotations

from collections.abc import Sequence

from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.generate import Sampling, complete
from sealora_client.trained.offline import require_base
from sealora_client.trained.trained_adapter import TrainedAdapter


class Answers:
    """The base model with the adapter on it, loaded once.

    Args:
        trained: the adapter.

    Raises:
        ModelError: the base model is not here, or not the one that the recipe names, or takes no such adapter.
    """

    def __init__(self, trained: TrainedAdapter) -> None:
        require_base(trained.recipe)
        self._recipe = trained.recipe
        self._model = AdaptedModel.load(trained.recipe)
        self._model.write({name: trained.tensors[name] for name in self._model.layout.names})

    def to(self, prompts: Sequence[str], *, most_tokens: int, temperature: float = 0.0, seed: int = 0) -> list[str]:
        """One answer to each prompt.

        Args:
            prompts: each goes through the recipe's template and system prompt, as in training.
            most_tokens: of an answer.
            temperature: 0 gives the likeliest words; above, they are drawn, see `Sampling`.
            seed: of what is drawn.

        Raises:
            DataError: the template fails on a prompt.
        """
        sampling = None if temperature == 0 else Sampling(temperature, seed)
        # One by one: what others are asked with it changes the last bits of an answer in 16-bit arithmetic.
        return [complete(self._model, [prompt], self._recipe.data, most_tokens, sampling)[0] for prompt in prompts]
