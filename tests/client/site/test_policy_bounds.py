"""A policy's bounds are bounds: what stands on one is allowed, what stands one beyond it is not."""

from __future__ import annotations

import pytest

from sealora_client.site.policy import SitePolicy
from sealora_common.recipe import Recipe
from sealora_common.roster import Cosignature, Roster

from pure_sites import pure_federation, pure_recipe

RANGES = [
    ("rank", "lora", "rank", (4, 8), (3, 9)),
    ("rounds", "", "rounds", (2, 5), (1, 6)),
    ("learning_rate", "training", "learning_rate", (0.25, 0.5), (0.125, 0.75)),
]


def policy(**lines: object) -> SitePolicy:
    return SitePolicy.model_validate({"epsilon_limit": 8.0, "delta_limit": 1e-5} | lines)


def private(**sections: object) -> Recipe:
    return pure_recipe(**{"privacy": {"mechanism": "local", "delta": 1e-5}} | sections)


def allowed(decided: SitePolicy, recipe: Recipe, line: str, roster: Roster | None = None) -> bool:
    """What the policy's line says."""
    (verdict,) = [each for each in decided.verdicts(recipe, roster) if each.line.startswith(f"{line} is")]
    return verdict.allowed


@pytest.mark.parametrize(("line", "section", "field", "ends", "beyond"), RANGES)
def test_both_ends_of_a_range_are_in_it(
    line: str, section: str, field: str, ends: tuple[float, float], beyond: tuple[float, float]
) -> None:
    for value in (*ends, *beyond):
        recipe = private(**({section: {field: value}} if section else {field: value}))
        assert allowed(policy(**{line: ends}), recipe, line) == (value in ends)


def test_a_range_of_one_value_holds_it() -> None:
    assert allowed(policy(rank=[8, 8]), private(lora={"rank": 8}), "rank")


def test_as_many_co_signatures_as_are_asked_for_will_do() -> None:
    recipe = private()
    roster, sites = pure_federation(recipe, 3)
    signatures = [Cosignature.create(site.identity, roster.sequence, roster.hash) for site in sites.values()]
    for count in range(4):
        cosigned = roster.with_cosignatures(signatures[:count])
        assert allowed(policy(roster_cosignatures=2), recipe, "roster_cosignatures", cosigned) == (count >= 2)


def test_kinds_of_objective_that_are_not_named_are_refused() -> None:
    preferring = private(objective={"kind": "dpo"}, data={"layout": "preference"})
    assert allowed(policy(objectives=["causal"]), private(), "objectives")
    assert not allowed(policy(objectives=["causal"]), preferring, "objectives")
    assert allowed(policy(objectives=["causal", "dpo"]), preferring, "objectives")
    assert not [each for each in policy().verdicts(preferring, None) if each.line.startswith("objectives")]
