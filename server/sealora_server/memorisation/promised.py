"""What a recipe's promise allows an attack on somebody with several records, which is less the more there are.

epsilon is for one unit of privacy. A person with k records in one site's data is k units where the unit is a record,
and one where it is a person. For k units (Dwork & Roth 2014, Thm 2.2; Vadhan 2017, Lemma 2.2) epsilon becomes k epsilon
and delta becomes delta (1 + e^epsilon + ... + e^((k - 1) epsilon)), which soon bounds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe
from sealora_common.records.audits import FALSE_POSITIVE_RATE
from sealora_server.view.audit_summary import allowed_rate

_STEEPEST = 700.0
"""Largest exponent that a float64 has room for."""


@dataclass(frozen=True)
class GroupPromise:
    """What is promised to a person with several records: `epsilon` at `delta`, up to 1."""

    epsilon: float
    delta: float

    @classmethod
    def of(cls, recipe: Recipe, repeats: int) -> GroupPromise | None:
        """Of a person with so many records, 1 or more; None where nothing is promised."""
        if not mechanism_of(recipe).protects:
            return None
        units = 1 if recipe.data.unit == "person" else repeats
        epsilon, delta = recipe.privacy.epsilon, 0.0
        for before in range(units):
            if delta >= 1 or before * epsilon > _STEEPEST:
                delta = 1.0
                break
            delta += recipe.privacy.delta * math.exp(before * epsilon)
        return cls(units * epsilon, min(1.0, delta))

    def allowed_told(self, spaces: Sequence[int], tries: int) -> float:
        """The largest share of secrets that an attack with so many tries at each is expected to find.

        Had the records not been there, the model would not depend on a value that was drawn uniformly from a space,
        and `tries` guesses would be right with probability tries / space. Under the promise they are right with
        probability e^epsilon times that, plus delta, at most.

        Args:
            spaces: of each secret, the number of values that its own was drawn from.
            tries: guesses at each.
        """
        steep = math.exp(min(self.epsilon, _STEEPEST))
        return sum(min(1.0, steep * tries / space + self.delta) for space in spaces) / len(spaces)

    def allowed_true_positives(self) -> float:
        """The largest true positive rate of any attack at 1 % false positives."""
        return allowed_rate(FALSE_POSITIVE_RATE, self.epsilon, self.delta)
