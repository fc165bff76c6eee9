"""What is trained is what was paid for: the noise of a round comes from the leave to compute it, from nowhere else."""

from __future__ import annotations

from sealora_client.ledger import Charge, Leave
from sealora_common.errors import BudgetError
from sealora_common.privacy.accounting import Mechanism
from sealora_common.recipe import Recipe


def paid_noise(leave: Leave, due: Mechanism, *, recipe: Recipe, round_number: int) -> float:
    """The noise multiplier that `leave` pays for, if it pays for what is about to run.

    Args:
        leave: a charge of the ledger, or a rehearsal.
        due: what is about to run. Its noise multiplier is not compared: the one paid for is used.
        recipe: the promise, whose delta the charge was made at.
        round_number: first round is 1.

    Raises:
        BudgetError: it pays for another sampling rate, number of steps, kind of noise or grid, or for another round or
            delta; or for no noise at all.
    """
    paid = leave.mechanism
    same = (paid.sample_rate, paid.steps, paid.noise, paid.units) == (due.sample_rate, due.steps, due.noise, due.units)
    if not same:
        raise BudgetError(f"what was paid for ({_in_words(paid)}) is not what would run ({_in_words(due)})")
    if not paid.noise_multiplier > 0:
        raise BudgetError(f"noise_multiplier is {paid.noise_multiplier}: it must be above 0")
    if isinstance(leave, Charge) and (leave.round_number, leave.delta) != (round_number, recipe.privacy.delta):
        raise BudgetError(
            f"the charge is for round {leave.round_number} at delta {leave.delta:g}, not for round {round_number} "
            f"at delta {recipe.privacy.delta:g}"
        )
    return paid.noise_multiplier


def _in_words(mechanism: Mechanism) -> str:
    grid = f" on {mechanism.units} grid units" if mechanism.units else ""
    return f"{mechanism.steps} steps of {mechanism.noise} noise{grid} at sample rate {mechanism.sample_rate:g}"
