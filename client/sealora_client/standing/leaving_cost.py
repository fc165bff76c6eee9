"""What it costs in privacy to leave now or after the round, said before it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealora_client.ledger import LEDGER, ChargeRow, Ledger, has_ledger
from sealora_client.operator.at_work import AtWork, told_work
from sealora_client.site.process_lock import LOCK
from sealora_common.errors import SealoraError
from sealora_common.privacy.accounting import epsilon_pld
from sealora_common.show.quantities import count_text, epsilon_text
from sealora_common.storage.lock import is_locked

_WORK: Final = ("train", "evaluate")
"""The stages in which a round is charged."""


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
    if not has_ledger(directory / LEDGER):
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
        nothing = f"The site is in no round: leaving costs no epsilon.{_others(charges, None)}"
        return LeavingCost(nothing, nothing)
    others = _others(charges, at_work)
    of_round = [
        row for row in charges if (row.run, row.round_number) == (at_work.run, at_work.round) and row.state != "voided"
    ]
    where = "The final evaluation" if at_work.purpose == "evaluate" else f"Round {at_work.round}"
    if not of_round:
        return LeavingCost(
            f"{where} is not charged yet: if it is before it ends, that is spent as in any round.{others}",
            f"{where} is not charged yet: stopping now costs no epsilon.{others}",
        )
    each = " and ".join(
        f"epsilon {epsilon_text(epsilon_pld([row.event], row.delta))} of data set {row.dataset[:8]}" for row in of_round
    )
    charged = f"{where} is charged: {each}, each by itself."
    # Held-out and training records are charged one after the other, and a round that is tried again anew.
    more = (
        "What is charged for it yet is spent, too."
        if at_work.stage in _WORK
        else "Leaving after it costs nothing more."
    )
    if all(row.state == "released" for row in of_round):
        gone = f"{charged} Its sealed update has left, so neither gives anything back."
        return LeavingCost(f"{gone}{f' {more}' if at_work.stage in _WORK else ''}{others}", f"{gone}{others}")
    return LeavingCost(
        f"{charged} {more}{others}",
        f"{charged} Stopping now keeps its result here, and does not give the charge back.{others}",
    )


def _others(charges: Sequence[ChargeRow], at_work: AtWork | None) -> str:
    """What is to be said of charges of other rounds, under which something may still leave: a server may have begun
    several."""
    here = None if at_work is None else (at_work.run, at_work.round)
    count = sum(row.is_open and (row.run, row.round_number) != here for row in charges)
    if not count:
        return ""
    of = "" if at_work is None else " of other rounds"
    return f" {count_text(count, 'charge')}{of} {'is' if count == 1 else 'are'} open, and not given back."
