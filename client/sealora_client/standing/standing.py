"""What is known of a site at this moment, folded from what it wrote: settings, roster, history, ledger, receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from sealora_client.budget.report import BudgetReport, budget_report
from sealora_client.fleet.session_record import SessionRecord
from sealora_client.ledger import LEDGER, Ledger
from sealora_client.site.config import SiteConfig
from sealora_client.site.policy import SitePolicy
from sealora_client.site.process_lock import LOCK
from sealora_client.site.seen_rosters import check_roster
from sealora_client.standing.probes import told_parts
from sealora_common.errors import SealoraError
from sealora_common.health.status import PartStatus
from sealora_common.receipts.file import ReceiptFile
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.records.names import HISTORY
from sealora_common.records.site_rounds import SiteRound, SiteRoundsTail
from sealora_common.roster import Roster
from sealora_common.storage.lock import is_locked

Read = TypeVar("Read")


class RunStanding(BaseModel):
    """Where the site is in the run that it took part in last."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    run: str
    """Its id; empty if nothing tells it."""
    recipe: str
    rounds: int
    receipts: int
    """Rounds of which there is a receipt."""
    working_on: int | None = None
    """The round that was ordered last."""
    evaluated: bool = False
    """Whether the final evaluation, the last that a run asks for, is done."""
    seconds_left: float | None = None
    """How long its rounds will take, from what they took so far; null: not known yet, or none are left."""


class LastReceipt(BaseModel):
    """The newest receipt of that run: what to compare with other sites."""

    model_config = ConfigDict(frozen=True)

    round: int
    survivors: tuple[str, ...]
    adapter_digest: str


class SiteStanding(BaseModel):
    """All of it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    site: str
    running: bool
    """Whether a process of this machine runs the site."""
    parts: dict[str, PartStatus]
    """What that process says of its parts; empty if it says nothing."""
    in_hand: str | None
    """The stage that it was asked for and has not answered."""
    run: RunStanding | None
    receipt: LastReceipt | None
    spent: float | None
    """Epsilon of the data set that has spent most; null if nothing was charged."""
    epsilon_limit: float | None
    delta_limit: float | None
    todo: tuple[str, ...]
    """What a person has to do, a sentence each."""

    @property
    def left(self) -> float | None:
        """What the policy still allows to spend."""
        if self.epsilon_limit is None:
            return None
        return max(0.0, self.epsilon_limit - (self.spent or 0.0))


@dataclass
class _Files:
    """What could be read of a site's directory, and a sentence for what could not."""

    directory: Path
    wrong: list[str] = field(default_factory=list)

    def read(self, load: Callable[[], Read]) -> Read | None:
        try:
            return load()
        except SealoraError as error:
            self.wrong.append(str(error))
            return None


def site_standing(directory: Path, now: datetime | None = None) -> SiteStanding:
    """How the site in `directory` stands.

    Args:
        directory: the site's.
        now: the time, with its time zone; None for this machine's.

    Raises:
        PolicyError: there is no site, or its site.yaml cannot be read.
    """
    config = SiteConfig.load(directory / "site.yaml")
    files = _Files(directory)
    recipe = files.read(lambda: load_recipe(directory / "recipe.yaml"))
    roster = files.read(lambda: Roster.load(directory / "roster.json", coordinator=config.coordinator))
    policy = files.read(lambda: SitePolicy.load(directory / "policy.yaml"))
    if roster is not None:
        files.read(lambda: check_roster(directory, roster, now or datetime.now(UTC)))
    running = is_locked(directory / LOCK)
    parts = dict(told_parts(config.health, config.name)) if running and config.health else {}
    in_hand = SessionRecord(directory, config.server).in_hand if running and config.server else None
    budget = files.read(lambda: _budget(directory, config.name, policy)) if policy is not None else None
    lines = SiteRoundsTail(directory / HISTORY).read()
    chain = _newest_chain(directory)
    count, last = (files.read(chain.tail) or (0, None)) if chain is not None else (0, None)
    run = _run(recipe, lines, chain, count, budget)
    return SiteStanding(
        site=config.name,
        running=running,
        parts=parts,
        in_hand=None if in_hand is None else in_hand.message_type,
        run=run,
        receipt=None
        if last is None
        else LastReceipt(round=last.round_number, survivors=last.survivors, adapter_digest=last.adapter_digest),
        spent=max((each.spent for each in budget.datasets), default=None) if budget is not None else None,
        epsilon_limit=None if policy is None else policy.epsilon_limit,
        delta_limit=None if policy is None else policy.delta_limit,
        todo=(*files.wrong, *_todo(directory, running, parts, policy, recipe, roster)),
    )


def _todo(
    directory: Path,
    running: bool,
    parts: dict[str, PartStatus],
    policy: SitePolicy | None,
    recipe: Recipe | None,
    roster: Roster | None,
) -> Iterator[str]:
    yield from (f"{name}: {part.said}" for name, part in parts.items() if not part.ok)
    if policy is not None and recipe is not None:
        for verdict in policy.verdicts(recipe, roster):
            if not verdict.allowed:
                yield f"policy.yaml: {verdict}: agree on another recipe, or change that line"
    if not running:
        yield f"the site does not run: `sealora-site run --config {directory / 'site.yaml'}`"


def _budget(directory: Path, site: str, policy: SitePolicy) -> BudgetReport | None:
    if not (directory / LEDGER).exists():
        return None
    with Ledger(directory / LEDGER) as ledger:
        return budget_report(ledger, site, policy, None)


def _newest_chain(directory: Path) -> ReceiptFile | None:
    chains = [path for path in (directory / "receipts").glob("*.jsonl") if path.stem.isalnum()]
    newest = max(chains, key=lambda path: path.stat().st_mtime_ns, default=None)
    return None if newest is None else ReceiptFile(newest)


def _run(
    recipe: Recipe | None, lines: list[SiteRound], chain: ReceiptFile | None, count: int, budget: BudgetReport | None
) -> RunStanding | None:
    if recipe is None or (not lines and chain is None):
        return None
    charged = budget.history if budget is not None else ()
    run = charged[-1].run if charged else chain.path.stem if chain is not None else ""
    receipts = count if chain is not None and chain.path.stem == run else 0
    last = lines[-1] if lines else None
    evaluated = last is not None and last.kind == "evaluate"
    begun = {line.round: datetime.fromisoformat(line.created) for line in reversed(charged) if line.run == run}
    took = (max(begun.values()) - min(begun.values())).total_seconds() / (len(begun) - 1) if len(begun) > 1 else None
    left = max(0, recipe.rounds - receipts)
    return RunStanding(
        run=run,
        recipe=recipe.name,
        rounds=recipe.rounds,
        receipts=receipts,
        working_on=None if last is None or evaluated else last.round,
        evaluated=evaluated,
        seconds_left=took * left if took is not None and left and not evaluated else None,
    )
