"""Room in the privacy ledger for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

from sealora_client.budget.admission import admission, only_one_run
from sealora_client.budget.report import RecipeAtSite
from sealora_client.check.agreement import Agreement
from sealora_client.data.source.problems import sentences_of
from sealora_client.ledger import LEDGER, Ledger
from sealora_client.site.policy import SitePolicy
from sealora_common.errors import DataError, SealoraError
from sealora_common.health.finding import Finding, failed, passed
from sealora_common.identity import Identity
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe


def check_budget(agreement: Agreement, policy: SitePolicy, recipe: Recipe, identity: Identity) -> Iterator[Finding]:
    """What the recipe's rounds would cost the site's data sets, and whether the policy's limit leaves room for them."""
    if not mechanism_of(recipe).protects:
        yield passed("privacy", "the recipe has no mechanism, so nothing is charged")
        return
    try:
        at_site = RecipeAtSite.read(agreement.directory, agreement.config, recipe)
        with Ledger(agreement.directory / LEDGER, identity) as ledger:
            judged = admission(ledger, policy, recipe, at_site.roster_size, at_site.train, at_site.heldout)
        only_one = only_one_run(recipe, at_site.roster_size, policy.epsilon_limit)
    except DataError as error:
        yield from (failed("records", sentence) for sentence in sentences_of(error))
        return
    except SealoraError as error:
        yield failed("privacy", str(error))
        return
    if judged.refused is not None:
        yield failed("privacy", f"{judged.refused}: see `sealora-site budget`, and agree on another recipe")
        return
    for part in judged.parts:
        yield passed(
            "privacy",
            f"{part.part} data: {part.rounds} rounds cost epsilon {part.whole_run:.3g} at delta {part.delta:g}; with "
            f"what is spent, {part.after_run:.3g} of {policy.epsilon_limit:g}",
        )
    if only_one is not None:
        yield passed("privacy", only_one)
