"""The section `server`: what is done with the opened mean."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sealora_common.recipe.hash import AddedLater
from sealora_common.recipe.sections.section import Positive, Section


class EarlyStopping(Section):
    """When a run ends before its last round: once the federation's held-out loss has not improved for a while."""

    patience: int = Field(ge=1, le=100_000)
    """So many held-out figures in a row that are no improvement on the best one end the run."""
    min_delta: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """What a figure must be better by to be an improvement, in its own unit: a loss lower, an accuracy higher. Null:
    twice the standard deviation of the difference of two figures, if every site evaluates `data.heldout_limit` units;
    sites with fewer add more noise."""


class ServerSection(Section):
    """The server's optimiser on the opened mean (FedOpt family, Reddi et al. 2021), and which adapter is kept."""

    optimizer: Literal["fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad"] = "fedavg"
    """What steps the adapter by the mean: as it is, with momentum, or by adaptive rates for each parameter."""
    learning_rate: Positive = 1.0
    """The server's; with `fedavg` and 1, the mean is added as it is."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """FedAvgM's momentum; beta_1 of FedAdam and FedYogi."""
    beta_2: float = Field(default=0.99, ge=0, lt=1)
    """Of FedAdam's and FedYogi's second moment."""
    tau: Positive = 1e-3
    """Added to the root of the second moment: the adaptive methods' degree of adaptivity."""
    l2_sp: Annotated[float, AddedLater(0.0)] = Field(default=0.0, ge=0, le=1)
    """Strength of the pull towards the adapter that the run began with, whose share of the distance is taken back in
    each round's step (L2-SP, Li, Grandvalet & Davoine 2018, arXiv:1802.01483); 0 is off."""
    early_stopping: Annotated[EarlyStopping | None, AddedLater(None)] = None
    """Null trains all rounds. Noise is calibrated for all of them, whether or not they come."""
    keep: Annotated[Literal["last", "best"], AddedLater("last")] = "last"
    """Which adapter the run ends with: the last one, or the one with the best held-out figure, of those that were
    evaluated and the one that the run began with."""

    @property
    def compares_rounds(self) -> bool:
        """Whether held-out figures decide anything."""
        return self.early_stopping is not None or self.keep == "best"
