"""A run as one site lived it, in one object and in its `summary.json`. LOCAL: figures are exact, without noise.

It is read from what the site keeps: its history, its ledger, its receipts and what it was told of the run's end.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sealora_client.delivery.kept_run import KeptRun
from sealora_client.ledger import LEDGER, ChargeRow, Ledger
from sealora_client.round.history import History
from sealora_client.site.config import SiteConfig
from sealora_client.site.policy import SitePolicy
from sealora_common.errors import PolicyError, SealoraError
from sealora_common.identity import Identity
from sealora_common.privacy.accounting import epsilon_pld
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.receipts.check import check_chain
from sealora_common.receipts.receipt import Receipt
from sealora_common.recipe import Recipe
from sealora_common.recipe.sections.data import Unit
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.records.names import HISTORY
from sealora_common.records.site_rounds import SiteHistory, SiteRound, SiteRoundsTail
from sealora_common.roster import Roster
from sealora_common.roster.book import RosterBook


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class CheckedReceipts(_Section):
    """What the run's receipts at this site prove."""

    rounds: int
    with_this_site: int
    """In whose opened sum this site's vector is."""
    problem: str | None
    """Why they prove nothing; null if they hold."""


class CostOfRun(_Section):
    """What the run has cost one data set of this site. Epsilons are rounded by nobody."""

    part: str
    fingerprint: str
    units: int
    epsilon: float
    """Of this run's charges, at the recipe's delta."""
    spent: float
    """Of all runs' charges, at the policy's delta; infinite (null in JSON) if anything was charged without noise."""
    left: float
    """Of the policy's limit."""


class WhatLeft(_Section):
    """Messages of one kind that left this site, of the rounds that came to their end."""

    kind: str
    messages: int | None
    bytes: int | None
    """Null where nobody counted them."""


class RunAtSite(_Section):
    """All of it: what `summary.json` holds."""

    site: str
    run: str
    recipe: str
    recipe_hash: str
    has_ended: bool
    """As far as this site was told: it was given the final adapter."""
    rounds: int
    """The recipe's."""
    rounds_trained: int
    """That this site took part in to their end."""
    kept_round: int | None
    adapter_digest: str | None
    mechanism: str
    unit: Unit
    epsilon: float | None
    """The recipe's promise."""
    delta: float | None
    policy_limit: float | None
    heldout: HeldoutFigure
    heldout_before: float | None
    """This site's own and exact figure of the adapter that nobody had trained yet."""
    heldout_after: float | None
    """Of the adapter that is kept."""
    federation_before: float | None
    """The federation's, with its noise, as the server tells it."""
    federation_after: float | None
    federation_noise: float | None
    """Least standard deviation of that noise."""
    records: int | None
    heldout_records: int | None
    truncated: int | None
    receipts: CheckedReceipts
    costs: tuple[CostOfRun, ...]
    left: tuple[WhatLeft, ...]
    bytes_up: int
    bytes_down: int
    seconds: float
    """That this site worked."""
    by_round: tuple[SiteRound, ...]
    insecure: bool
    """Noise was seeded for a test: nothing of this is private."""


def run_at_site(directory: Path, run: str) -> RunAtSite:
    """The run in the site's directory, as far as it has come.

    Args:
        directory: the site's.
        run: the run's id.

    Raises:
        PolicyError: the site has taken no part in it, or a file is missing or damaged.
        StorageError: the ledger is damaged.
    """
    kept = KeptRun(directory, run)
    recipe = kept.recipe
    if recipe is None:
        raise PolicyError(f"{kept.directory}: this site has taken no part in that run")
    config, policy = SiteConfig.load(directory / "site.yaml"), SitePolicy.load(directory / "policy.yaml")
    lines = [line for line in SiteRoundsTail(directory / HISTORY).read() if line.run == run]
    history, losses = SiteHistory(config.name, tuple(lines)), dict(SiteHistory(config.name, tuple(lines)).losses)
    conclusion = kept.conclusion
    kept_round = None if conclusion is None else conclusion.kept_round
    protects = mechanism_of(recipe).protects
    charges = _charges(directory, config, run)
    return RunAtSite(
        site=config.name,
        run=run,
        recipe=recipe.name,
        recipe_hash=recipe.hash,
        has_ended=conclusion is not None,
        rounds=recipe.rounds,
        rounds_trained=len({line.round for line in lines if line.kind == "train"}),
        kept_round=kept_round,
        adapter_digest=None if conclusion is None else conclusion.adapter_digest,
        mechanism=recipe.privacy.mechanism,
        unit=recipe.data.unit,
        epsilon=recipe.privacy.epsilon if protects else None,
        delta=recipe.privacy.delta if protects else None,
        policy_limit=policy.epsilon_limit if protects else None,
        heldout=HeldoutFigure.of(recipe),
        heldout_before=losses.get(0),
        heldout_after=None if kept_round is None else losses.get(kept_round),
        federation_before=None if conclusion is None else conclusion.heldout_loss_before,
        federation_after=None if conclusion is None else conclusion.heldout_loss_after,
        federation_noise=None if conclusion is None else conclusion.heldout_noise,
        records=history.latest(lambda line: line.records),
        heldout_records=history.latest(lambda line: line.heldout_records),
        truncated=history.latest(lambda line: line.truncated),
        receipts=_checked(directory, config, run, recipe),
        costs=_costs(directory, config, policy, recipe, charges) if protects else (),
        left=tuple(_what_left(lines, conclusion is not None)),
        bytes_up=sum(line.bytes_up for line in lines),
        bytes_down=sum(line.bytes_down for line in lines),
        seconds=sum(line.seconds or 0.0 for line in lines),
        by_round=tuple(lines),
        insecure=any(row.insecure for row in charges),
    )


def _what_left(lines: list[SiteRound], took_adapter: bool) -> list[WhatLeft]:
    sizes = [line.vector_bytes for line in lines if line.vector_bytes is not None]
    rest = sum(line.bytes_up for line in lines) - sum(sizes)
    found = [
        WhatLeft(kind="sealed vectors: update, counts and held-out figure", messages=len(sizes), bytes=sum(sizes)),
        WhatLeft(kind="the sealing's keys, encrypted shares and signed confirmations", messages=None, bytes=rest),
        WhatLeft(kind="greetings: name, versions, hashes, the adapter's layout", messages=None, bytes=None),
    ]
    if took_adapter:
        found.append(WhatLeft(kind="that the final adapter is here", messages=1, bytes=None))
    return found


def _checked(directory: Path, config: SiteConfig, run: str, recipe: Recipe) -> CheckedReceipts:
    chain: list[Receipt] = []
    problem: str | None = None
    try:
        chain = History(directory, run).receipts
        present = Roster.load(directory / "roster.json", coordinator=config.coordinator)
        book, digests = RosterBook(directory / "receipts" / "rosters"), {receipt.roster_hash for receipt in chain}
        rosters = book.with_kept({present.hash.hex(): present}, digests, coordinator=present.coordinator_pin)
        check_chain(chain, rosters, run=run, recipe=recipe)
    except SealoraError as error:
        problem = str(error)
    mine = sum(config.name in receipt.survivors for receipt in chain)
    return CheckedReceipts(rounds=len(chain), with_this_site=mine, problem=problem)


def _charges(directory: Path, config: SiteConfig, run: str) -> list[ChargeRow]:
    with _ledger(directory, config) as ledger:
        return [row for row in ledger.charges() if row.run == run and row.voided is None]


def _costs(
    directory: Path, config: SiteConfig, policy: SitePolicy, recipe: Recipe, charges: list[ChargeRow]
) -> tuple[CostOfRun, ...]:
    costs = []
    with _ledger(directory, config) as ledger:
        sizes = {row.fingerprint: row.size for row in ledger.datasets()}
        for fingerprint in dict.fromkeys(row.dataset for row in charges):
            rows = ledger.charges(fingerprint)
            trained = any(row.event.sample_rate < 1 for row in charges if row.dataset == fingerprint)
            spent = epsilon_pld([row.event for row in rows], policy.delta_limit)
            costs.append(
                CostOfRun(
                    part="training" if trained or recipe.training.sample_rate == 1 else "held-out",
                    fingerprint=fingerprint,
                    units=sizes[fingerprint],
                    epsilon=epsilon_pld([row.event for row in rows if row.run == charges[0].run], recipe.privacy.delta),
                    spent=spent,
                    left=max(0.0, policy.epsilon_limit - spent),
                )
            )
    return tuple(costs)


def _ledger(directory: Path, config: SiteConfig) -> Ledger:
    return Ledger(directory / LEDGER, Identity.load(config.name, directory / "identity.pem"))
