"""What is trained is what was paid for: a round runs as its plan says, and the leave to compute it must be for that."""

from __future__ import annotations

from dataclasses import replace

from sealora_client.ledger import Charge, Leave
from sealora_common.errors import BudgetError
from sealora_common.privacy.accounting import PrivacyEvent
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe


def require_paid(plan: TrainingPlan, leave: Leave | None, *, recipe: Recipe, round_number: int) -> None:
    """Refuses to compute what `leave` is not for.

    Args:
        plan: what is about to run.
        leave: a charge of the ledger, or a rehearsal; None for a plan without noise, which nothing pays for.
        recipe: the promise, whose delta the charge was made at.
        round_number: first round is 1.

    Raises:
        BudgetError: it is for another sampling rate, number of steps, kind or amount of noise or grid, or for another
            round or delta; or there is one where nothing is due, or none where something is.
    """
    if (leave is None) == plan.protects:
        needed = "must not be paid for" if leave is not None else "must be paid for first"
        raise BudgetError(f"a round with privacy.mechanism: {recipe.privacy.mechanism} {needed}")
    if leave is None:
        return
    paid, due = leave.event, plan.event
    if replace(paid, noise_multiplier=due.noise_multiplier) != due:
        raise BudgetError(f"what was paid for ({_in_words(paid)}) is not what would run ({_in_words(due)})")
    if paid != due:
        raise BudgetError(
            f"noise_multiplier is {paid.noise_multiplier} in what was paid for: {due.noise_multiplier} runs"
        )
    if isinstance(leave, Charge) and (leave.round_number, leave.delta) != (round_number, recipe.privacy.delta):
        raise BudgetError(
            f"the charge is for round {leave.round_number} at delta {leave.delta:g}, not for round {round_number} "
            f"at delta {recipe.privacy.delta:g}"
        )


def _in_words(event: PrivacyEvent) -> str:
    grid = f" on {event.grid_steps} grid steps" if event.grid_steps else ""
    return f"{event.steps} steps of {event.noise} noise{grid} at sample rate {event.sample_rate:g}"
