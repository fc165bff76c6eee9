"""The sites of a memorisation test: those of a comparison, made-up records planted among theirs, and the attacks."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sealora_client.audit.roc import Roc
from sealora_client.memorisation.extraction import UNASKED, continued, told, unasked
from sealora_client.memorisation.likelihood import CandidateLosses, ranks
from sealora_client.memorisation.made_up import WORDINGS, space_of
from sealora_client.memorisation.planting import (
    Secret,
    made_secrets,
    population_of,
    require_plantable,
)
from sealora_client.model.adapted import adapted_model
from sealora_client.unsealed_sites import UnsealedSites
from sealora_common.adapter import adapter_kind
from sealora_common.errors import RecipeError
from sealora_common.recipe import Recipe
from sealora_common.records.attacks.memorisation import AttackedAdapter, Planting, SecretFound
from sealora_common.records.audits import RocSummary


class PlantedSites(UnsealedSites):
    """What `sealora memorisation` asks of the installed site package, found by way of `SimulatedSites.planted`.

    The attacker is the last site: nothing is planted among its records. It holds the final adapter and the base model,
    and knows the form of all sites' records.

    Args:
        recipe: bound to its base model, see `SimulatedSites.resolve`.
        planting: what is planted.

    Raises:
        RecipeError: records cannot be planted with this recipe, or there are fewer than two sites.
        DataError: a site's records cannot be used.
        ModelError: the model cannot be, with this recipe.
    """

    def __init__(self, recipe: Recipe, planting: Planting) -> None:
        require_plantable(recipe)
        *others, self.attacker = sorted(recipe.sites.simulated)
        if not others:
            raise RecipeError("sites.simulated names one site, and another is to attack it: name two or more")
        model = adapted_model(recipe)
        planted, held_back = made_secrets(planting, others)
        by_site = {site: [secret for secret in planted if secret.site == site] for site in others}
        super().__init__(recipe, {site: population_of(own, recipe, model) for site, own in by_site.items()})
        self._secrets = (*planted, *held_back)
        self._planted = len(planted)
        self._losses = CandidateLosses(self._secrets, recipe, model)
        kind = adapter_kind(recipe)
        self._start = kind.shared(self.layout).flatten(kind.initial(self.layout))

    def attack(self, adapter: NDArray[np.float32]) -> AttackedAdapter:
        """All attacks on an adapter, its shared part, flat."""
        model, recipe, secrets = self._model, self._recipe, self._secrets
        with model.lock:
            before = self._losses_before
            self._write(adapter)
            losses = before if np.array_equal(adapter, self._start) else self._losses.measure()
            went_on, said = continued(model, secrets, recipe), told(model, secrets, recipe)
            answers = unasked(model, recipe)
        gains = (before - losses)[:, 0] / self._losses.tokens
        found = tuple(
            _found(secret, float(gain), int(rank), ended, answered)
            for secret, gain, rank, ended, answered in zip(secrets, gains, ranks(losses), went_on, said, strict=True)
        )
        return AttackedAdapter(
            planted=found[: self._planted],
            held_back=found[self._planted :],
            wordings=WORDINGS,
            unasked=len(UNASKED),
            unasked_planted=sum(secret.value in answers for secret in secrets[: self._planted]),
            unasked_held_back=sum(secret.value in answers for secret in secrets[self._planted :]),
        )

    @cached_property
    def _losses_before(self) -> NDArray[np.float64]:
        """Under the untrained adapter, which is left in the model."""
        self._write(self._start)
        return self._losses.measure()

    @staticmethod
    def separation(members: NDArray[np.float64], others: NDArray[np.float64]) -> RocSummary:
        """How well a score tells members from others, float64 of shapes (n,) and (l,), two or more each."""
        return Roc.of(members, others).summary()


def _found(secret: Secret, gain: float, rank: int, went_on: bool, said: bool) -> SecretFound:
    return SecretFound(
        kind=secret.kind,
        site=secret.site,
        repeats=secret.repeats,
        space=space_of(secret.kind),
        gain=gain,
        rank=rank,
        continued=went_on,
        told=said,
    )
