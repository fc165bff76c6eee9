"""What it costs in privacy to leave now or after the round, said before it is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealora_client.ledger import LEDGER, ChargeRow, Ledger
from sealora_client.operator.at_work import AtWork, told_work
from sealora_client.site.process_lock import LOCK
from sealora_common.errors import SealoraError
from sealora_common.privacy.accounting import epsilon_pld
from sealora_common.show.quantities import epsilon_text
from sealora_common.storage.lock import is_locked


@dataclass(frozen=True)
class LeavingCost:
    """Two sentences each, for a person.

    Attributes:
        after_round: of leaving after the round at hand.
        now: of stopping at once.
    """

    after_round: str
    now: str


def leaving_cost(directory: Path) -> LeavingCost:
    """What leaving would cost the site in `directory` at this moment."""
    at_work = told_work(directory) if is_locked(directory / LOCK) else None
    if not (directory / LEDGER).exists():
        return cost_in_words(at_work, ())
    try:
        with Ledger(directory / LEDGER) as ledger:
            return cost_in_words(at_work, ledger.charges())
    except SealoraError as error:
        unknown = f"What it costs cannot be told: {error}."
        return LeavingCost(unknown, unknown)


def cost_in_words(at_work: AtWork | None, charges: list[ChargeRow] | tuple[ChargeRow, ...]) -> LeavingCost:
    """The same of what is known.

    Args:
        at_work: the round that the site is in; None: in none.
        charges: all of the ledger's, in order.
    """
    if at_work is None or at_work.stage == "open":
        nothing = "The site is in no round: leaving costs no epsilon."
        return LeavingCost(nothing, nothing)
    of_round = [
        row
        for row in charges
        if (row.run, row.round_number) == (at_work.run, at_work.round) and row.state in ("open", "released")
    ]
    where = "The final evaluation" if at_work.purpose == "evaluate" else f"Round {at_work.round}"
    if not of_round:
        return LeavingCost(
            f"{where} is not charged yet: if it is before it ends, that is spent as in any round.",
            f"{where} is not charged yet: stopping now costs no epsilon.",
        )
    each = " and ".join(
        f"epsilon {epsilon_text(epsilon_pld([row.event], row.delta))} of data set {row.dataset[:8]}" for row in of_round
    )
    charged = f"{where} is charged: {each}, each by itself."
    if all(row.state == "released" for row in of_round):
        gone = "Its sealed update has left, so neither gives anything back."
        return LeavingCost(f"{charged} {gone}", f"{charged} {gone}")
    return LeavingCost(
        f"{charged} Leaving after it costs nothing more.",
        f"{charged} Stopping now keeps its result here, and does not give the charge back.",
    )
