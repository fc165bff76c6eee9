"""One record as the model sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sealora_client.data.record import AgainstRecipe

Unusable = Literal[
    AgainstRecipe, "task", "template", "altered", "tokenizer", "prompt", "response", "vocabulary", "label"
]
"""Why a record cannot be shown to the model: for what `AgainstRecipe` says, or as follows. `task`: the recipe does not
weigh its task. `template`, `tokenizer`: it fails on this text. `altered`:
the template makes something else of this text than it makes of others. `prompt`, `response`: nothing of it is left as
tokens. `vocabulary`: a token that the model has no embedding for. `label`: its class
is another token after this text than after others."""


@dataclass(frozen=True)
class Example:
    """A templated record: prompt tokens followed by response tokens. Loss is taken on the response, and on what of the
    prompt is to be learned as well: the earlier responses of a conversation.

    Attributes:
        tokens: int32, shape (length,), the whole example, never empty.
        prompt_length: how many of them are prompt, 1 or more; the response is `tokens[prompt_length:]`, empty in a
            placeholder only.
        truncated: whether the example was cut to the recipe's `data.max_tokens`.
        unusable: None, or why this is only a placeholder.
        earlier: stretches (start, stop) of the prompt's tokens that loss is taken on too: ascending, apart, and each
            after the first token, which nothing predicts.
        rejected: the same record with its rejected response, where the two are compared: as a rule behind the same
            prompt, and without one of its own.
        wanted: whether its response is one to learn; False for one to avoid.
        weight: how much its loss counts in training; no part of what is measured.
        following: what of the same record's text the model is shown in further examples, where one is too short for it.
    """

    tokens: NDArray[np.int32]
    prompt_length: int
    truncated: bool = False
    unusable: Unusable | None = None
    earlier: tuple[tuple[int, int], ...] = ()
    rejected: Example | None = None
    wanted: bool = True
    weight: float = 1.0
    following: tuple[Example, ...] = ()

    @property
    def sequences(self) -> tuple[Example, ...]:
        """What the model is shown of it, a row each."""
        return (self,) if self.rejected is None else (self, self.rejected)

    @property
    def pieces(self) -> tuple[Example, ...]:
        """All examples of its record."""
        return (self, *self.following)

    @property
    def length(self) -> int:
        """Number of tokens of its longest sequence."""
        return max(len(sequence.tokens) for sequence in self.sequences)

    @property
    def response_length(self) -> int:
        """Number of tokens of the response."""
        return len(self.tokens) - self.prompt_length

    @property
    def learned(self) -> NDArray[np.bool_]:
        """Bool, shape (length,): which tokens loss is taken on."""
        mask = np.zeros(len(self.tokens), dtype=np.bool_)
        for start, stop in (*self.earlier, (max(self.prompt_length, 1), len(self.tokens))):
            mask[start:stop] = True
        return mask

    @classmethod
    def placeholder(cls, reason: Unusable) -> Example:
        """Stands for a record that cannot be shown to the model, so that it breaks nothing and still counts.

        One prompt token and no response: its loss is a sum over no tokens, 0 with a gradient of 0. Its unit stays in
        the population, is sampled, charged and counted like any other; leaving it out would tell of it.
        """
        return cls(np.zeros(1, dtype=np.int32), prompt_length=1, unusable=reason)
