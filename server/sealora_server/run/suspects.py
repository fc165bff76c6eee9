"""Who may have sent a vector that spoils sums, narrowed down by sealing in groups.

A sum that does not count its own survivors has a damaged vector in it, and under the masks nothing tells whose. Where
each site's vector carries its own promise (`local`), the next attempt deals the sites into groups, each sealed by
itself: the groups whose sums add up are clear and make the round; the others stay under suspicion and are dealt
anew in the next round. From s suspects in g groups about s/g are left after each deal, so one who spoils every sum is
the only one left after log(n)/log(g) of them: two for twelve sites in groups of three.

This is no evidence: members who take turns can bring an honest one under suspicion. So nobody is left out for it; the
operator is told who is left, and whom to ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sealora_common.recipe import Recipe
from sealora_common.round.groups import may_regroup


@dataclass(frozen=True)
class OpenedGroup:
    """Survivors whose sum was opened, and whether it adds up."""

    survivors: tuple[str, ...]
    adds_up: bool


class Suspects:
    """The sites under suspicion in one run. Forgotten when the server is restarted: it finds out again."""

    def __init__(self) -> None:
        self._names: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """Who is under suspicion now."""
        return tuple(sorted(self._names))

    def learn(self, sums: Sequence[OpenedGroup]) -> None:
        """Takes note of the sums that an attempt opened."""
        names = self._names
        for group in sums:
            members = frozenset(group.survivors)
            if group.adds_up:
                names -= members
            elif not self._names & members:  # else it was one of those, as far as anybody knows
                names |= members
        self._names = names

    def groups(self, recipe: Recipe, roster_size: int) -> int:
        """How many groups the next attempt is dealt into: the recipe's, or as many as the floor allows."""
        most = roster_size // recipe.sealing.min_survivors
        if self._names and may_regroup(recipe, roster_size, most):
            return most
        return recipe.sealing.groups
