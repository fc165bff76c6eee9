"""What is known of a site at this moment, folded from what it wrote: settings, roster, history, ledger, receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from sealora_client.budget.report import BudgetReport, budget_report
from sealora_client.fleet.link import PART as SERVER_PART
from sealora_client.fleet.session_record import SessionRecord
from sealora_client.ledger import LEDGER, Ledger, has_ledger
from sealora_client.operator.at_work import AtWork, told_work
from sealora_client.operator.departure import HOW_TO_RETURN, SAID_AWAY, Departure, departure
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
    at_work: AtWork | None
    """The stage that the site was asked for last, in a round that has not come to its end; null: in no round."""
    departure: Departure | None
    """The wish of its operator that it leave; null: it is to take part."""
    has_left: bool
    """Whether it has."""
    run: RunStanding | None
    receipt: LastReceipt | None
    spent: float | None
    """Epsilon of the data set that has spent most; null if nothing was charged."""
    is_spent_known: bool
    """Whether the ledger could be read; without, null of what is spent is not nothing."""
    epsilon_limit: float | None
    delta_limit: float | None
    todo: tuple[str, ...]
    """What a person has to do, a sentence each."""

    @property
    def left(self) -> float | None:
        """What the policy still allows to spend; None if that is not known."""
        if self.epsilon_limit is None or not self.is_spent_known:
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


def site_standing(directory: Path, now: datetime | None = None, *, with_budget: bool = True) -> SiteStanding:
    """How the site in `directory` stands.

    Args:
        directory: the site's.
        now: the time, with its time zone; None for this machine's.
        with_budget: whether what is spent is worked out, which takes seconds when it is first done.

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
    session = SessionRecord(directory, config.server) if running and config.server else None
    in_hand = None if session is None else session.in_hand
    leaves = files.read(lambda: departure(directory))
    budget, unread = None, len(files.wrong)
    if policy is not None and with_budget:
        budget = files.read(lambda: _budget(directory, config.name, policy))
    is_spent_known = policy is not None and with_budget and len(files.wrong) == unread
    lines = SiteRoundsTail(directory / HISTORY).read()
    chain = _newest_chain(directory)
    count, last = (files.read(chain.tail) or (0, None)) if chain is not None else (0, None)
    has_left = leaves is not None and (not running or _is_away(parts, session))
    at_work = told_work(directory) if running and not has_left else None
    if at_work is not None and _is_over(at_work, lines):
        at_work = None
    run = _run(recipe, lines, chain, count, budget)
    if run is not None and at_work is not None and at_work.run == run.run:
        left = at_work.run_seconds_left((now or datetime.now(UTC)).timestamp())
        run = run.model_copy(update={"working_on": at_work.round, "seconds_left": left or run.seconds_left})
    return SiteStanding(
        site=config.name,
        running=running,
        parts=parts,
        in_hand=None if in_hand is None else in_hand.message_type,
        at_work=at_work,
        departure=leaves,
        has_left=has_left,
        run=run,
        receipt=None
        if last is None
        else LastReceipt(round=last.round_number, survivors=last.survivors, adapter_digest=last.adapter_digest),
        spent=max((each.spent for each in budget.datasets), default=None) if budget is not None else None,
        is_spent_known=is_spent_known,
        epsilon_limit=None if policy is None else policy.epsilon_limit,
        delta_limit=None if policy is None else policy.delta_limit,
        todo=(*files.wrong, *_todo(directory, running, parts, policy, recipe, roster, has_left)),
    )


def _is_away(parts: dict[str, PartStatus], session: SessionRecord | None) -> bool:
    """Whether the site's process waits until it is wanted again, as far as it tells. One that has lost the server may
    be in a round all the same, and send what it has as soon as the server is there again."""
    server = parts.get(SERVER_PART)
    if server is not None:
        return not server.ok and server.said.startswith(SAID_AWAY)
    return session is None or session.open_node is None


def _is_over(at_work: AtWork, lines: list[SiteRound]) -> bool:
    """Whether the round that was told of has come to its end: it has a line of its own then."""
    ends = [(line.run, line.kind, line.round) for line in lines]
    return at_work.stage == "open" and (at_work.run, at_work.purpose, at_work.round) in ends


def _todo(
    directory: Path,
    running: bool,
    parts: dict[str, PartStatus],
    policy: SitePolicy | None,
    recipe: Recipe | None,
    roster: Roster | None,
    has_left: bool,
) -> Iterator[str]:
    if has_left:
        yield f"the site has left, as its operator asked: {HOW_TO_RETURN}"
    else:
        yield from (f"{name}: {part.said}" for name, part in parts.items() if not part.ok)
    if policy is not None and recipe is not None:
        for verdict in policy.verdicts(recipe, roster):
            if not verdict.allowed:
                yield f"policy.yaml: {verdict}: agree on another recipe, or change that line"
    if not running:
        yield f"the site does not run: `sealora-site run --config {directory / 'site.yaml'}`"


def _budget(directory: Path, site: str, policy: SitePolicy) -> BudgetReport | None:
    if not has_ledger(directory / LEDGER):
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
