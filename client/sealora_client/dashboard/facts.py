"""All that the page shows at one moment. Whatever cannot be read is a sentence, and the rest is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from sealora_client.dashboard.budget_facts import BudgetFacts, read_budget
from sealora_client.dashboard.runs import RunNames
from sealora_client.dashboard.score_facts import RunScores, read_scores
from sealora_client.dashboard.sent_facts import SentFacts, read_sent
from sealora_client.operator.kept_checks import KeptDataReport, KeptPreflight, kept_data_report, kept_preflight
from sealora_client.site.policy import SitePolicy
from sealora_client.site.policy_text import policy_sentences
from sealora_client.standing.leaving_cost import LeavingCost, cost_in_words
from sealora_client.standing.standing import SiteStanding, site_standing
from sealora_common.errors import SealoraError
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe, load_recipe

Read = TypeVar("Read")


@dataclass(frozen=True)
class PageFacts:
    """One moment.

    Attributes:
        directory: the site's.
        at: seconds since the epoch.
        standing: how the site stands; None if there is no site to tell of.
        budget: what is spent and left; None if it cannot be told.
        sent: what left.
        scores: of runs, the newest first.
        policy: its lines in words: name and sentence; empty if it cannot be read.
        preflight: what the last check found.
        data_report: what the last look at the data found.
        leaving: what leaving costs; None until it is worked out.
        recipe: that the site has agreed to.
        protects: whether that recipe has differential privacy; None without a recipe.
        problems: what could not be read, a sentence each.
    """

    directory: Path
    at: float
    standing: SiteStanding | None
    budget: BudgetFacts | None
    sent: SentFacts
    scores: tuple[RunScores, ...]
    policy: tuple[tuple[str, str], ...]
    preflight: KeptPreflight | None
    data_report: KeptDataReport | None
    leaving: LeavingCost | None
    recipe: Recipe | None
    protects: bool | None
    problems: tuple[str, ...]


@dataclass
class _Reading:
    problems: list[str] = field(default_factory=list)

    def read(self, load: Callable[[], Read]) -> Read | None:
        try:
            return load()
        except SealoraError as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))
        except OSError as error:
            self.problems.append(f"{error.filename or 'a file'}: cannot be read ({error.strerror})")
        return None


def read_facts(directory: Path, composed: BudgetFacts | None = None, now: datetime | None = None) -> PageFacts:
    """Reads the site's directory; disturbs nobody, writes nothing, and works nothing out that takes long.

    Args:
        directory: the site's.
        composed: the budget with its epsilons, of the ledger as it is now; None: they are not there yet.
        now: the time, with its time zone; None for this machine's.
    """
    at = now or datetime.now(UTC)
    reading, runs = _Reading(), RunNames(directory)
    policy = reading.read(lambda: SitePolicy.load(directory / "policy.yaml"))
    recipe = reading.read(lambda: load_recipe(directory / "recipe.yaml")) if _has(directory, "recipe.yaml") else None
    standing = reading.read(lambda: site_standing(directory, at, with_budget=False))
    budget = composed
    if policy is not None and budget is None:
        budget = reading.read(lambda: read_budget(directory, policy, runs, compose=False))
    charges = () if budget is None else budget.charges
    sent = reading.read(lambda: read_sent(directory, runs, charges))
    return PageFacts(
        directory=directory,
        at=at.timestamp(),
        standing=standing,
        budget=budget,
        sent=SentFacts((), is_whole=False, is_known=False) if sent is None else sent,
        scores=reading.read(lambda: read_scores(directory, runs)) or (),
        policy=() if policy is None else tuple(policy_sentences(policy)),
        preflight=kept_preflight(directory),
        data_report=kept_data_report(directory),
        leaving=None if composed is None or standing is None else cost_in_words(standing.at_work, composed.rows),
        recipe=recipe,
        protects=None if recipe is None else mechanism_of(recipe).protects,
        problems=tuple(reading.problems),
    )


def read_composed(directory: Path) -> BudgetFacts | None:
    """The budget with its epsilons; None if it cannot be told, as `read_facts` says then."""
    try:
        policy = SitePolicy.load(directory / "policy.yaml")
        return read_budget(directory, policy, RunNames(directory), compose=True)
    except (SealoraError, OSError):
        return None


def _has(directory: Path, name: str) -> bool:
    try:
        return (directory / name).exists()
    except OSError:
        return False
