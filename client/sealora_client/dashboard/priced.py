"""What a recipe would cost this site, before anybody agrees to it: by the code of `sealora-site budget`, in a thread.

Nothing is charged. The site's records are read as the recipe says, and the ledger is looked at; if there is none yet,
an empty one stands in for it, outside of the site's directory.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sealora_client.budget.report import BudgetReport, Plan, PlannedCost, RecipeAtSite, budget_report
from sealora_client.ledger import LEDGER, Ledger, has_ledger
from sealora_client.site.config import SiteConfig
from sealora_client.site.policy import SitePolicy, Verdict
from sealora_common.errors import SealoraError
from sealora_common.recipe import parse_recipe
from sealora_common.show.quantities import count_text, epsilon_text, target_text

_PARTS = {"train": "training", "heldout": "held-out"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PricedRecipe:
    """What came of it.

    Attributes:
        name: the recipe's; empty if it is none.
        sentence: the whole of it in one sentence.
        refuses: whether this site would refuse it.
        plan: the figures; None without any.
        verdicts: what each line of the policy says to it.
        problem: why there is no price.
    """

    name: str = ""
    sentence: str = ""
    refuses: bool = False
    plan: Plan | None = None
    verdicts: tuple[Verdict, ...] = ()
    problem: str = ""


class Pricing:
    """Prices one recipe at a time for the site in `directory`.

    Attributes:
        is_at_work: whether a price is being worked out.
        last: the last one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self.is_at_work = False
        self.last: PricedRecipe | None = None

    def begin(self, text: str) -> bool:
        """Begins to price a recipe (YAML); whether it did, as another one may be at work."""
        with self._lock:
            if self.is_at_work:
                return False
            self.is_at_work = True
        threading.Thread(target=self._work, args=(text,), name="price", daemon=True).start()
        return True

    def _work(self, text: str) -> None:
        try:
            found = price_of(self._directory, text)
        except SealoraError as error:
            found = PricedRecipe(problem=str(error))
        except Exception as error:  # its text may quote records
            log.error("a recipe could not be priced (%s)", type(error).__name__)
            why = f"it could not be worked out ({type(error).__name__}): try `sealora-site budget`"
            found = PricedRecipe(problem=why)
        self.last, self.is_at_work = found, False


def price_of(directory: Path, text: str) -> PricedRecipe:
    """What the recipe in `text` would cost the site in `directory`.

    Raises:
        SealoraError: it is no recipe, or the site's files or records cannot be used.
    """
    recipe = parse_recipe(text, where="the recipe")
    config, policy = SiteConfig.load(directory / "site.yaml"), SitePolicy.load(directory / "policy.yaml")
    at_site = RecipeAtSite.read(directory, config, recipe)
    with _ledger_to_read(directory) as ledger:
        report = budget_report(ledger, config.name, policy, at_site)
    plan = report.plan
    if plan is None:
        raise AssertionError
    verdicts = (*policy.verdicts(recipe, at_site.roster), *policy.verdicts_over_the_run(recipe))
    refuses = plan.refused is not None or not all(verdict.allowed for verdict in verdicts)
    return PricedRecipe(recipe.name, price_sentence(plan, report), refuses, plan, verdicts)


def price_sentence(plan: Plan, report: BudgetReport) -> str:
    """The whole run's price in one sentence."""
    if not plan.parts and plan.refused is None:
        return (
            f"{plan.recipe} has no differential privacy: nothing would be charged, and nothing would bound what the "
            "run tells of a record."
        )
    if not plan.parts:
        return f"This site would refuse {plan.recipe}: {plan.refused}."
    costs = " and ".join(_cost(part) for part in plan.parts)
    most = max(plan.parts, key=lambda part: part.after_run)
    limit = target_text(report.epsilon_limit)
    after = f"{epsilon_text(most.after_run)} of the {limit} that the policy allows would be spent then"
    verdict = "" if plan.refused is None else f"; this site would refuse it, as {plan.refused}"
    return f"The whole run of {plan.recipe} would cost {costs}, at δ = {target_text(plan.delta)}; {after}{verdict}."


def _cost(part: PlannedCost) -> str:
    unit = count_text(part.size, part.unit)
    return f"the {_PARTS[part.part]} records ({unit}) ε {epsilon_text(part.whole_run)}"


@contextmanager
def _ledger_to_read(directory: Path) -> Iterator[Ledger]:
    if has_ledger(directory / LEDGER):
        with Ledger(directory / LEDGER) as ledger:
            yield ledger
        return
    with tempfile.TemporaryDirectory(prefix="sealora-price-") as made, Ledger(Path(made) / LEDGER) as ledger:
        yield ledger
