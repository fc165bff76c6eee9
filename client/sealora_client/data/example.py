"""One record as the model sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Example:
    """A chat-templated record: prompt tokens followed by response tokens. Loss is taken on the response alone.

    Attributes:
        tokens: int32, shape (length,), the whole example.
        prompt_length: how many of them are prompt; the response is `tokens[prompt_length:]`, never empty.
        truncated: whether the example was cut to the recipe's `data.max_tokens`.
    """

    tokens: NDArray[np.int32]
    prompt_length: int
    truncated: bool = False

    @property
    def response_length(self) -> int:
        return len(self.tokens) - self.prompt_length
