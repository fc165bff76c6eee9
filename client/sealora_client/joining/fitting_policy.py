"""The policy that a recipe needs of a site, no looser than that, and what of it is more than a careful site gives.

What exceeds the careful policy is not given unless a person names that line. What the recipe does not use is closed:
the policy fits this recipe, and another one is another decision.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sealora_client.site.careful_policy import careful_policy
from sealora_client.site.policy import SitePolicy, Verdict
from sealora_common.errors import BudgetError, PolicyError
from sealora_common.privacy.accounting import check_delta
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe


@dataclass(frozen=True)
class FittingPolicy:
    """What a recipe makes of the careful policy.

    Attributes:
        policy: careful where a line was not accepted, and otherwise as the recipe needs it.
        exceeded: what the recipe asks for beyond it, line by line.
    """

    policy: SitePolicy
    exceeded: tuple[Verdict, ...]

    def __bool__(self) -> bool:
        """Whether the recipe may be joined under it."""
        return not self.exceeded


def fitting_policy(recipe: Recipe, records: int, accepted: Collection[str] = ()) -> FittingPolicy:
    """The policy of a site that is to take part in `recipe`.

    Args:
        recipe: what it is asked to take part in.
        records: its training records, or persons: the delta that it gives unasked follows from how many they are.
        accepted: lines that may be loosened as far as the recipe asks, by name.

    Raises:
        PolicyError: `accepted` names a line that this recipe does not loosen, or the recipe's delta is one that no
            policy could allow for so many records.
    """
    careful = careful_policy(records)
    asked = _asked_for(recipe)
    exceeds = {verdict.field for verdict in refused(careful, recipe)}
    unknown = sorted(set(accepted) - exceeds)
    if unknown:
        known = f"this recipe exceeds {', '.join(sorted(exceeds))}" if exceeds else "this recipe exceeds none"
        raise PolicyError(
            f"--accept {unknown[0]}: not a line in which the recipe asks for more than a careful site gives: {known}"
        )
    if mechanism_of(recipe).protects:
        try:
            check_delta(recipe.privacy.delta, records)
        except BudgetError as error:
            raise PolicyError(f"the recipe does not suit this site's data: {error}, with the others") from None
    loosened = careful.model_copy(update={name: asked[name] for name in exceeds & set(accepted)})
    exceeded = tuple(refused(loosened, recipe))
    narrowed = {name: value for name, value in asked.items() if name not in exceeds or name in accepted}
    policy = SitePolicy.model_validate({**careful.model_dump(exclude_unset=True), **narrowed})
    return FittingPolicy(policy, exceeded)


def refused(policy: SitePolicy, recipe: Recipe) -> Iterator[Verdict]:
    """The lines that refuse the recipe, over its whole run; a roster is not judged."""
    verdicts = (*policy.verdicts(recipe, None), *policy.verdicts_over_the_run(recipe))
    yield from (verdict for verdict in verdicts if not verdict.allowed)


def _asked_for(recipe: Recipe) -> dict[str, Any]:
    """Each line as the recipe needs it and no looser, by name. The policy that is made of them checks them."""
    asked: dict[str, Any] = {"adapters": (recipe.adapter,), "objectives": (recipe.objective.kind,)}
    if recipe.model.digest is not None:
        asked["base_models"] = (recipe.model.digest,)
    if recipe.sealing.min_survivors < SitePolicy.model_fields["minimum_survivors"].default:
        asked["minimum_survivors"] = recipe.sealing.min_survivors
    if recipe.sealing.adversary == "curious":
        asked["adversary"] = "curious"
    if not mechanism_of(recipe).protects:
        grouped = {"allow_groups_without_privacy": True} if recipe.sealing.groups > 1 else {}
        return {**asked, "allow_without_privacy": True, **grouped}
    privacy = recipe.privacy
    return {
        **asked,
        "epsilon_limit": privacy.epsilon,
        "delta_limit": privacy.delta,
        "mechanisms": (privacy.mechanism,),
        "unit": recipe.data.unit,
    }
