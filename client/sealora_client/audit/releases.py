"""What one site's round makes known to the strongest adversary that the mechanism's claim speaks of.

`local`: the site's own change of the adapter, as the claim holds against the server and all other sites together.
`distributed`: the opened sum, with the shares of noise of as many honest sites as the claim counts on. What other
sites' records contribute is left out: the adversary may know them, and could subtract it.
"""

from __future__ import annotations

from sealora_client.data.population import Population
from sealora_client.ledger import Rehearsal
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.choice import training_of
from sealora_client.training.round_training import Release
from sealora_common.entropy import Entropy
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe


def release_round(
    model: AdaptedModel,
    population: Population,
    *,
    plan: TrainingPlan,
    recipe: Recipe,
    round_number: int,
    clip_norm: float,
    entropy: Entropy,
) -> Release:
    """Does a round's work on `population`, from the adapter that is in `model` now.

    Args:
        model: afterwards it may hold another adapter.
        population: all units of the site.
        plan: what the round does and is accounted as.
        recipe: for what the plan leaves open.
        round_number: first round is 1.
        clip_norm: C of the round.
        entropy: draws samples and noise, of the other sites too.

    Raises:
        SealoraError: the data or the model cannot be used.
    """
    training = training_of(recipe)
    trained = training.train(
        model,
        population,
        plan=plan,
        recipe=recipe,
        round_number=round_number,
        clip_norm=clip_norm,
        leave=Rehearsal(plan.event) if plan.protects else None,
        entropy=entropy,
    )
    return training.becomes_known(trained, plan=plan, population=len(population), clip_norm=clip_norm, entropy=entropy)
