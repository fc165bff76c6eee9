"""What a run has spent of its promise so far, as far as a server can know."""

from __future__ import annotations

from functools import cached_property

from sealora_common.errors import SealoraError
from sealora_common.privacy.composition import epsilon_pld
from sealora_common.privacy.plan import Part, PlannedCharge, PrivacyPlan, privacy_plan
from sealora_common.recipe import Recipe
from sealora_common.records.run_state import RunState


class Spending:
    """Of a run of `recipe` among `roster_size` sites.

    Each site's ledger knows what that site spent. What is told here is what the recipe lets a site spend that was in
    all rounds: an upper bound for each, and the same for all.
    """

    def __init__(self, recipe: Recipe, roster_size: int) -> None:
        self._recipe = recipe
        self._roster_size = roster_size

    def figures(self, state: RunState, parts: tuple[Part, ...] = ("train", "heldout")) -> dict[str, float]:
        """Epsilon at the recipe's delta, of training and of held-out records, which are not the same records.

        Empty where nothing is promised, or where what accounts is not installed (a server needs no SciPy).
        """
        plan = self._plan
        if plan is None:
            return {}
        repeats = len(state.aborted) if plan.repeats_are_charged else 0
        told = sum(loss is not None for loss in state.heldout_losses.values())
        spent: dict[Part, int] = {"train": len(state.round_seconds) + repeats, "heldout": told}
        return {
            f"privacy/epsilon_{'training' if charge.part == 'train' else 'heldout'}": self._epsilon(
                charge, min(spent[charge.part], charge.times)
            )
            for charge in plan.charges
            if charge.part in parts
        }

    def _epsilon(self, charge: PlannedCharge, times: int) -> float:
        return epsilon_pld([charge.event.repeated(times)], self._recipe.privacy.delta)

    @cached_property
    def _plan(self) -> PrivacyPlan | None:
        try:
            plan = privacy_plan(self._recipe, self._roster_size)
            for charge in plan.charges:
                self._epsilon(charge, 1)
        except (ImportError, SealoraError):
            return None
        return plan
