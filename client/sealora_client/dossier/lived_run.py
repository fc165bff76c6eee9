"""One run as a site's directory knows it: its recipe, its rosters, its receipts and what they prove."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealora_client.delivery.kept_run import KeptRun
from sealora_client.ledger import LEDGER, Ledger, has_ledger
from sealora_client.round.history import History
from sealora_client.round.run_id import RUN_ID, SHORTEST_BEGINNING, run_beginning
from sealora_client.site.config import SiteConfig
from sealora_client.site.policy import SitePolicy
from sealora_common.errors import PolicyError, ReceiptError
from sealora_common.identity import Identity
from sealora_common.receipts.check import RoundProof, check_chain
from sealora_common.receipts.receipt import Receipt
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.roster import Roster
from sealora_common.roster.book import RosterBook

_BEGINNING = re.compile(f"[0-9a-f]{{{SHORTEST_BEGINNING},32}}")


@dataclass(frozen=True)
class LivedRun:
    """What a site has of one run.

    Attributes:
        directory: the site's.
        identity: the site's, which signs its part.
        policy: the site's own limits.
        run: the run's identity, 32 hex digits.
        recipe: that the run is of.
        roster: the site's newest.
        receipts: the chain, as far as the site has it.
        proofs: what each receipt proves; as many as hold.
        broken: why the chain does not hold; empty if it does.
        is_only_run: whether the directory knows of no other run, so that `history.jsonl` is of this one alone.
    """

    directory: Path
    identity: Identity
    policy: SitePolicy
    run: str
    recipe: Recipe
    roster: Roster
    receipts: tuple[Receipt, ...]
    proofs: tuple[RoundProof, ...]
    broken: str
    is_only_run: bool

    @classmethod
    def open(cls, directory: Path, run: str, recipe: Path | None = None) -> LivedRun:
        """Reads a run from a site's directory. Whether the roster has expired since is no matter here.

        Args:
            directory: the site's.
            run: the run's identity, or the beginning of it.
            recipe: the file of its recipe; None: the one that the site keeps of the run, or else its `recipe.yaml`.

        Raises:
            PolicyError: no such run is known there, or the recipe is another one than the run's.
            StorageError: a file of the site's is damaged.
        """
        config = SiteConfig.load(directory / "site.yaml")
        identity = Identity.load(config.name, directory / "identity.pem")
        roster = Roster.load(directory / "roster.json", coordinator=config.coordinator)
        known = runs_of(directory, identity)
        named = _named(run, known, directory)
        path = recipe or _recipe_of(directory, named)
        parsed = load_recipe(path)
        receipts = tuple(History(directory, named).receipts)
        if receipts and receipts[0].recipe_hash != parsed.hash:
            raise PolicyError(
                f"{path}: is recipe {parsed.hash[:12]}, and run {named[:12]} is of "
                f"{receipts[0].recipe_hash[:12]}: give the run's with --recipe"
            )
        proofs, broken = _checked(receipts, roster, RosterBook(directory / "receipts" / "rosters"), named, parsed)
        policy = SitePolicy.load(directory / "policy.yaml")
        only = known == {named}
        return cls(directory, identity, policy, named, parsed, roster, receipts, proofs, broken, only)

    @property
    def name(self) -> str:
        """The site's."""
        return self.identity.name


def runs_of(directory: Path, identity: Identity) -> set[str]:
    """The runs that a site's directory knows of: those with receipts, and those that were charged.

    Raises:
        StorageError: the ledger cannot be read.
    """
    chains = {file.name.partition(".")[0] for file in (directory / "receipts").glob("*.jsonl")}
    if not has_ledger(directory / LEDGER):
        return chains
    with Ledger(directory / LEDGER, identity) as ledger:
        return chains | {row.run for row in ledger.charges()}


def _recipe_of(directory: Path, run: str) -> Path:
    kept = KeptRun(directory, run).recipe_path if RUN_ID.fullmatch(run) else directory
    return kept if kept.is_file() else directory / "recipe.yaml"


def _named(run: str, known: Iterable[str], directory: Path) -> str:
    if not _BEGINNING.fullmatch(run):
        raise PolicyError(
            f"{run!r} is no run's identity: give its 32 hexadecimal digits, or the first {SHORTEST_BEGINNING} or more "
            "of them"
        )
    found = run_beginning(run, known)
    if found is None:
        raise PolicyError(
            f"{directory}: no such run left a receipt or a charge ({run}): `sealora-site budget` and receipts/ name "
            "the runs of this site"
        )
    return found


def _checked(
    receipts: Sequence[Receipt], roster: Roster, book: RosterBook, run: str, recipe: Recipe
) -> tuple[tuple[RoundProof, ...], str]:
    digests = {receipt.roster_hash for receipt in receipts}
    rosters = book.with_kept({roster.hash.hex(): roster}, digests, coordinator=roster.coordinator_pin)
    try:
        return tuple(check_chain(receipts, rosters, run=run, recipe=recipe)), ""
    except ReceiptError as error:
        return (), str(error)
