"""Answers of a trained adapter, through the recipe's own template and system prompt, and with no network."""

from __future__ import annotations

from collections.abc import Sequence

from sealora_client.data.record import Turn
from sealora_client.data.templates.asked import asked
from sealora_client.data.templates.choice import template_of
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.generate import Continuation, Hear, Sampling, complete, go_on
from sealora_client.trained.offline import require_base
from sealora_client.trained.trained_adapter import TrainedAdapter
from sealora_common.errors import DataError

_LONGEST_TOKEN = 32
"""Letters, of any text but made-up ones."""


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
        self._template = template_of(self._model.tokenizer, trained.recipe.data)

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

    def asked(self, turns: Sequence[Turn]) -> list[int]:
        """Token ids of a conversation, up to where the answer to its last turn begins.

        Raises:
            DataError: the template fails on it, or it has no token, or more than the recipe shows of a record.
        """
        most = self._recipe.data.max_tokens
        letters = sum(len(turn.text) for turn in turns)
        if letters > most * _LONGEST_TOKEN:  # to count the tokens of so much would take long, and others wait
            raise DataError(
                f"{letters} letters are asked, more than {most} tokens (data.max_tokens) hold: ask for less"
            )
        tokens = asked(self._template, turns)
        if not tokens:
            raise DataError("nothing is asked: send a prompt with a word in it")
        if len(tokens) > most:  # a record would lose its middle, and what is asked must not
            raise DataError(
                f"{len(tokens)} tokens are asked, and data.max_tokens of the recipe is {most}: ask for less"
            )
        return tokens

    def go_on(self, tokens: Sequence[int], most_tokens: int, sampling: Sampling | None, hear: Hear) -> Continuation:
        """One answer, told while it comes; greedy without `sampling`."""
        return go_on(self._model, tokens, most_tokens, sampling, hear)
