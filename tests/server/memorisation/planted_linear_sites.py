"""Simulated sites without a model whose attacks find as much as a test says; see `linear_sites`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sealora_common.records.attacks.memorisation import AttackedAdapter, Planting, SecretFound
from sealora_common.records.audits import RocSummary

sys.path.insert(0, str(Path(__file__).parents[1] / "comparison"))
from linear_sites import LinearSites, SimulatedLinearSites

KINDS = ("name", "birth date", "telephone number", "record number")


def found_of(
    planting: Planting, told: Mapping[int, float], *, gain: float | None = None, others: float = 0.0
) -> AttackedAdapter:
    """Of what is planted so many times the share `told` gives is told, continued and ranked first, and gains `gain`.

    Of what is held back the share `others` is.
    """

    def one(place: int, repeats: int, is_told: bool) -> SecretFound:
        return SecretFound(
            kind=KINDS[place // len(planting.repeats) % 4],
            site="a" if repeats else None,
            repeats=repeats,
            space=10**7,
            gain=place / 100 + (0.0 if gain is None or not repeats else gain),
            rank=1 if is_told else 2 + place % planting.candidates,
            continued=is_told,
            told=is_told,
        )

    times, counts = planting.repeats, dict.fromkeys(planting.repeats, 0)
    planted = []
    for place in range(planting.secrets):
        repeats = times[place % len(times)]
        counts[repeats] += 1
        planted.append(one(place, repeats, counts[repeats] <= told.get(repeats, 0.0) * planting.secrets / len(times)))
    held_back = tuple(one(place, 0, place < others * planting.secrets) for place in range(planting.secrets))
    return AttackedAdapter(
        planted=tuple(planted),
        held_back=held_back,
        wordings=2,
        unasked=8,
        unasked_planted=0,
        unasked_held_back=0,
    )


class PlantedLinearSites(LinearSites):
    """As `PlantedSites`, of one planting; `attacks` are the arms' findings in the order in which they are attacked."""

    attacker = "c"

    def __init__(self, planting: Planting, attacks: Callable[[Planting], AttackedAdapter], digest: str) -> None:
        super().__init__(digest)
        self.planting = planting
        self._attacks = attacks
        self.attacked = 0

    def attack(self, adapter: NDArray[np.float32]) -> AttackedAdapter:
        self.attacked += 1
        return self._attacks(self.planting)

    @staticmethod
    def separation(members: NDArray[np.float64], others: NDArray[np.float64]) -> RocSummary:
        below = (members[:, None] > others[None, :]).mean() + (members[:, None] == others[None, :]).mean() / 2
        auc = float(below)
        return RocSummary(
            auc=auc,
            auc_interval=(max(0.0, auc - 0.1), min(1.0, auc + 0.1)),
            true_positive_rate=None,
            true_positive_interval=None,
            members=len(members),
            non_members=len(others),
            curve=((0.0, 0.0), (1.0, 1.0)),
        )


class SimulatedPlantedSites(SimulatedLinearSites):
    """As `SimulatedSites`, of which a memorisation test asks no more."""

    def __init__(self, attacks: Callable[[Planting], AttackedAdapter], digest: str = "records") -> None:
        super().__init__(LinearSites(digest))
        self._attacks, self._digest = attacks, digest
        self.made: list[PlantedLinearSites] = []

    def planted(self, recipe, planting: Planting) -> PlantedLinearSites:
        self.made.append(PlantedLinearSites(planting, self._attacks, self._digest))
        return self.made[-1]
