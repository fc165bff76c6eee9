"""What is promised to a unit of privacy (a record, a person) that is in the data of several sites of one run.

The recipe's epsilon is a promise of each site about its own data. A unit at k sites is in k training or held-out sets,
each of which tells of it:

- `local`: every site adds noise of its own, so the unit's loss is that of k events composed.
- `distributed`: one noise covers one sum, which holds the unit up to k times, drawn independently at each site. With
  the unit, the sum is the mixture of N(v_S, s^2 I) over the sets S of sites that drew it, v_S the sum of their
  contributions, no longer than |S| clipping norms; without, N(0, s^2 I). The costliest contributions are parallel
  and of full length: the mixture of N(j, s^2), j binomial (`privacy_loss.SampledStep`). Proof: whether the unit is
  removed or added, delta is the mean of a convex function of the ratio sum_S w_S exp(X_S - Var(X_S) / 2) under
  N(0, s^2 I), where the X_S are jointly normal with covariances v_S v_T / s^2 <= |S| |T| / s^2, and the right side
  is that of the parallel ones. By Kahane's inequality (1986, Une inégalité du type de Slepian et Gordon) larger
  covariances make such means larger. (The figure for two sites is also Google dp-accounting's, of its
  `from_mixture_gaussian_mechanism`.)

Skellam noise is a post-processing of Gaussian noise where there are two alternatives (`skellam`); here there are k + 1.
Where all sites contribute alike, as for one and the same record, it costs no more than Gaussian noise all the same.
delta is the most that sum_j u_j P_j(A) reaches over events A, P_j the law when j sites drew the unit, u_0 of one sign
and the others of the other. Given all other coordinates, a coordinate is shifted by j g, the u_j are weighted but keep
their signs, and as the noise is log-concave the best A is a threshold k. Normal noise shifted by a j g has a threshold
that is passed as often for j = 0, and for every other j at least as often, as Phi^-1(F(k)) grows by at most a (step 2
of the proof in `skellam`). So one coordinate after the other may be replaced by a normal one. Contributions that differ
(a person's records at several sites, dropout) are bounded by a chain: k neighbouring data sets, each bound to the
next by one site's promise (as Dwork & Roth 2014, Thm 2.2). That is looser by some 60 %, and holds for any noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from sealora_common.errors import BudgetError
from sealora_common.privacy.composition import epsilon_pld, merged_steps, require_delta
from sealora_common.privacy.event import PrivacyEvent
from sealora_common.privacy.loss_composition import epsilon_of_losses
from sealora_common.privacy.plan import privacy_plan
from sealora_common.privacy.privacy_loss import SampledStep, TooFineError
from sealora_common.recipe import Recipe

_FOR_THE_REST = 0.1  # of the delta that is left: any share is sound, and the first links need delta most
_LEAST_DELTA = 1e-100


@dataclass(frozen=True)
class AtSeveralSites:
    """The promise to a unit of privacy that is at `sites` sites: `epsilon`, an upper bound, at `delta`."""

    sites: int
    epsilon: float
    delta: float


def at_several_sites(recipe: Recipe, roster_size: int, sites: int) -> AtSeveralSites | None:
    """What a whole run of `recipe` promises a unit that is in the data of `sites` sites, wherever it is held out.

    None without privacy.

    Raises:
        BudgetError: `sites` is below 1 or above `roster_size`, or no amount of noise reaches the recipe's epsilon.
        RecipeError: the recipe asks for more honest survivors than a round is sure to have.
    """
    if not 1 <= sites <= roster_size:
        raise BudgetError(f"a unit at {sites} sites is asked for, but the roster has {roster_size}: ask for 1 to that")
    whole = {charge.part: charge.whole_run for charge in privacy_plan(recipe, roster_size).charges}
    if not whole:
        return None
    train, heldout = whole["train"], whole["heldout"]
    delta, alike = recipe.privacy.delta, recipe.data.unit == "record" and recipe.lora.dropout == 0
    if train.noise == "gaussian":
        epsilon = max(
            epsilon_pld([train.repeated(count), heldout.repeated(sites - count)], delta) for count in range(sites + 1)
        )
    elif alike:
        epsilon = max(
            epsilon_in_one_sum(train, count, heldout.repeated(sites - count), delta) for count in range(sites + 1)
        )
    else:
        epsilon = epsilon_of_chain((train, heldout), sites, delta)
    return AtSeveralSites(sites, epsilon, delta)


@lru_cache(maxsize=64)
def epsilon_in_one_sum(summed: PrivacyEvent, sites: int, apart: PrivacyEvent, delta: float) -> float:
    """The epsilon at `delta` of a unit that `sites` sites contribute alike to one sum, and of `apart` besides.

    Args:
        summed: the noise on the sum, its rate that of one site's drawing the unit.
        sites: 0 or more.
        apart: events with noise of their own.
        delta: above 0 and below 1.

    Returns:
        An upper bound, infinity if it is above 100.
    """
    require_delta(delta)
    steps = merged_steps([apart])
    if sites:
        for step, count in merged_steps([summed]).items():
            several = SampledStep(step.noise_multiplier, step.sample_rate, sites)
            steps[several] = steps.get(several, 0) + count
    try:
        return epsilon_of_losses(steps, delta) if steps else 0.0
    except TooFineError:
        return math.inf


@lru_cache(maxsize=64)
def epsilon_of_chain(links: tuple[PrivacyEvent, ...], sites: int, delta: float) -> float:
    """The epsilon at `delta` of `sites` neighbouring data sets in a chain, each link as costly as the costliest.

    If the first link promises (e, d) and the rest of the chain (E, D), the whole promises (e + E, d + exp(e) D).
    """
    total, left = 0.0, delta
    for following in reversed(range(sites)):
        share = left * (1 - _FOR_THE_REST) if following else left
        link = max(epsilon_pld([each], share) for each in links)
        total += link
        left = (left - share) * math.exp(-link)
        if following and left < _LEAST_DELTA:
            return math.inf
    return total
