"""What `sealora audit` asks of the installed site package."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sealora_client.audit.canaries import make_canaries
from sealora_client.audit.faults import Fault
from sealora_client.audit.membership import membership_attack
from sealora_client.audit.self_check import run_self_check
from sealora_client.audit.trial import ServerStep, run_trial
from sealora_client.data.load import load_data
from sealora_client.data.population import Population
from sealora_client.model.adapted import adapted_model
from sealora_client.training.sampling import choose
from sealora_common.entropy import Entropy, site_entropy
from sealora_common.errors import DataError, RecipeError
from sealora_common.recipe import Recipe
from sealora_common.records.audits import CheckSummary, SiteAudit

FEWEST_CANARIES = 32
"""With fewer, not even perfect guesses prove much."""

_ATTACKED = 500  # units of each kind in the membership attack


class Audits:
    """See `sealora_server.cli.audit`."""

    @staticmethod
    def audit(
        recipe: Recipe,
        *,
        site: str | None,
        canaries: int,
        server_step: ServerStep,
        on_round: Callable[[int], None],
    ) -> SiteAudit:
        """Trains `recipe` at one simulated site with canaries among its records, and attacks what comes out.

        Args:
            recipe: names the site's file under `sites.simulated`.
            site: its name; None for the first.
            canaries: m, 32 or more.
            server_step: the recipe's server optimiser.
            on_round: called before each round with its number.

        Raises:
            RecipeError: no such site, or too few canaries.
            DataError: the site's records cannot be used.
            ModelError: the base model cannot be had, or trained as the recipe says.
            BudgetError: no amount of noise reaches the recipe's epsilon.
        """
        started = time.monotonic()
        _require_enough(canaries)
        name, path = _chosen_site(recipe, site)
        model = adapted_model(recipe)
        data = load_data(path, recipe, model)
        members, others = data.train, data.heldout
        if min(len(members), len(others)) < 2:
            raise DataError(
                f"{path} has {len(members)} training and {len(others)} held-out {recipe.data.unit}s: the membership "
                "attack needs two of each, add records"
            )
        entropy = site_entropy(name, "audit")
        trial = run_trial(
            model,
            recipe,
            make_canaries(canaries, members, model.tokenizer, recipe, entropy),
            members,
            known=Population(members.units[:canaries]),
            roster_size=_roster_size(recipe),
            server_step=server_step,
            entropy=entropy,
            on_round=on_round,
        )
        trained, held_out = _some(members, entropy), _some(others, entropy)
        with model.lock:
            roc = membership_attack(model, trained, held_out, recipe)
        return SiteAudit(
            site=name,
            units=len(members),
            trial=trial.summary(),
            membership=roc.summary(),
            seconds=time.monotonic() - started,
        )

    @staticmethod
    def self_check(
        recipe: Recipe, *, site: str | None, canaries: int, on_check: Callable[[Fault | None], None]
    ) -> list[CheckSummary]:
        """Runs the audit on the sound engine and on one fault after another, see `run_self_check`.

        Raises:
            RecipeError: no such site, too few canaries, or no privacy to check.
            SealoraError: data or model cannot be used.
        """
        _require_enough(canaries)
        name, path = _chosen_site(recipe, site)
        model = adapted_model(recipe)
        checks = run_self_check(
            model,
            recipe,
            load_data(path, recipe, model).train,
            canaries=canaries,
            roster_size=_roster_size(recipe),
            entropy=site_entropy(name, "audit", "self-check"),
            on_check=on_check,
        )
        return [check.summary() for check in checks]


def _chosen_site(recipe: Recipe, site: str | None) -> tuple[str, Path]:
    if recipe.continue_from is not None:
        raise RecipeError(
            "continue_from is set, but an audit begins with the adapter that lora.seed gives: say continue_from=null, "
            "for what a run spends does not depend on where it begins"
        )
    sites = recipe.sites.simulated
    if not sites:
        raise RecipeError(
            "sites.simulated names no site: an audit trains on one site's file, give it one (sites.simulated: "
            "{my-site: records.jsonl})"
        )
    if site is not None and site not in sites:
        raise RecipeError(f"--site: sites.simulated has no {site!r}: choose from {', '.join(sites)}")
    name = next(iter(sites)) if site is None else site
    return name, Path(sites[name])


def _require_enough(canaries: int) -> None:
    if canaries < FEWEST_CANARIES:
        raise RecipeError(f"--canaries is {canaries}: fewer than {FEWEST_CANARIES} prove nothing, take a few hundred")


def _roster_size(recipe: Recipe) -> int:
    return max(len(recipe.sites.simulated), recipe.sites.minimum)


def _some(population: Population, entropy: Entropy) -> Population:
    """Enough for the membership attack: all would take long and tell little more."""
    return Population(tuple(population.units[index] for index in choose(entropy, len(population), _ATTACKED)))
