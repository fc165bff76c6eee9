"""Canaries: records made of random tokens, of which a fair coin each decides who is trained on.

They look like the site's records (its prompt's frame, its typical length), but nothing about them can be known except
from training on them. A canary is one unit of privacy: a record, or a person with as many records as is usual.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from sealora_client.data.example import Example
from sealora_client.data.examples import fit
from sealora_client.data.population import Population
from sealora_client.data.templates.choice import template_of
from sealora_client.data.templates.control import control_tokens
from sealora_client.data.templates.framed import NEUTRAL, shared_ends
from sealora_client.data.templates.template import Shown
from sealora_client.objective.choice import objective_of
from sealora_client.training.noise.keystream import Keystream
from sealora_common.entropy import Entropy
from sealora_common.recipe import Recipe

_SHORTEST = 8  # tokens of a canary's response: fewer would be alike by chance


@dataclass(frozen=True)
class Canaries:
    """Units made for the audit, and the coins.

    Attributes:
        population: all of them, m units.
        included: bool, shape (m,): which are trained on.
    """

    population: Population
    included: NDArray[np.bool_]

    def with_new_coins(self, entropy: Entropy) -> Canaries:
        """The same units, other coins."""
        return Canaries(self.population, throw_coins(entropy, len(self.population)))

    def among(self, records: Population) -> Population:
        """The training set of the audit: the canaries that are in, then the site's own records.

        Privacy does not depend on the order of the data, so the audit takes the one that serves it best: a sampler
        that only seems random, and prefers the beginning, prefers canaries.
        """
        chosen = tuple(unit for unit, kept in zip(self.population.units, self.included, strict=True) if kept)
        return Population((*chosen, *records.units))


def make_canaries(
    count: int, records: Population, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, entropy: Entropy
) -> Canaries:
    """Makes `count` canaries in the form of `records`, and throws their coins.

    Args:
        count: m, 1 or more.
        records: the site's own units, one or more; only their shape is looked at.
        tokenizer: the base model's.
        recipe: sections `data`, `objective` and `privacy` are read.
        entropy: draws tokens and coins.
    """
    per_unit = max(1, min(round(median(len(unit) for unit in records.units)), recipe.privacy.records_per_person))
    lengths = [example.response_length for unit in records.units for example in unit]
    length = min(max(_SHORTEST, round(median(lengths))), recipe.data.max_tokens // 2)
    names = [entropy.bytes(4).hex() for _ in range(count * per_unit)]
    neutral, *prompts = template_of(tokenizer, recipe.data).prompts([NEUTRAL, *names])
    objective = objective_of(recipe)
    responses = [_random_tokens(entropy, tokenizer, (len(names), length)) for _ in range(objective.width)]
    examples = [
        objective.made_up([_sequence(prompt, response, neutral, recipe) for response in of_one], tokenizer)
        for prompt, *of_one in zip(prompts, *responses, strict=True)
    ]
    units = tuple(tuple(examples[start : start + per_unit]) for start in range(0, len(examples), per_unit))
    return Canaries(Population(units), throw_coins(entropy, count))


def _sequence(prompt: list[int], response: NDArray[np.int32], neutral: list[int], recipe: Recipe) -> Example:
    return fit(Shown(prompt, response.tolist(), *shared_ends(prompt, neutral)), recipe.data.max_tokens)


def throw_coins(entropy: Entropy, count: int) -> NDArray[np.bool_]:
    """Independent fair coins: bool, shape (count,)."""
    bits = np.unpackbits(np.frombuffer(entropy.bytes((count + 7) // 8), dtype=np.uint8))
    return bits[:count].astype(np.bool_)


def _random_tokens(entropy: Entropy, tokenizer: PreTrainedTokenizerBase, shape: tuple[int, int]) -> NDArray[np.int32]:
    """Tokens of the vocabulary, uniform up to 2^-53 of its size, control tokens left out."""
    ordinary = np.setdiff1d(np.arange(len(tokenizer)), np.asarray(list(control_tokens(tokenizer)), dtype=np.int64))
    drawn = Keystream(entropy).integers(shape[0] * shape[1]) % np.uint64(len(ordinary))
    return ordinary[drawn.astype(np.int64)].astype(np.int32).reshape(shape)
