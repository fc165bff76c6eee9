"""The section `server`: what is done with the opened mean."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sealora_common.recipe.sections.section import Positive, Section


class ServerSection(Section):
    """The server's optimiser on the opened mean (FedOpt family, Reddi et al. 2021)."""

    optimizer: Literal["fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad"] = "fedavg"
    learning_rate: Positive = 1.0
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """FedAvgM's momentum; beta_1 of FedAdam and FedYogi."""
    beta_2: float = Field(default=0.99, ge=0, lt=1)
    tau: Positive = 1e-3
