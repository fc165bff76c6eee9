"""The section `training`: what a site does in one round."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sealora_common.recipe.hash import AddedLater
from sealora_common.recipe.sections.section import Fraction, Positive, Section

Beta = Annotated[float, Field(ge=0, lt=1)]


class TrainingSection(Section):
    """What a site does in one round."""

    sample_rate: Fraction = 0.05
    """Poisson sampling rate q: each record joins a step's batch with this probability, independently."""
    steps_per_round: int = Field(default=4, ge=1, le=100_000)
    """Steps of one round, each on a sample of its own; 1 under `distributed`, where the sum of a step is sealed."""
    epochs: Annotated[Positive | None, AddedLater(None)] = None
    """How often a record is expected to be drawn in the whole run, which is rounds x steps_per_round x sample_rate:
    compared with that, so that they are never two things. Null compares nothing."""
    micro_batch_size: int = Field(default=8, ge=1, le=65_536)
    """Examples in memory at once; the logical batch may be far larger."""
    learning_rate: Positive = 2e-3
    """The highest of the schedule. Under `distributed` it is not read: there the server steps, by its own."""
    schedule: Annotated[Literal["constant", "linear", "cosine"], AddedLater("constant")] = "constant"
    """How the learning rate of whoever takes the gradient steps goes over all steps of the run: the sites', or under
    `distributed` the server's. `linear` and `cosine` fall towards 0, which they would reach one step after the last."""
    warmup_steps: Annotated[int, AddedLater(0)] = Field(default=0, ge=0)
    """So many steps of the run rise towards the full learning rate before the schedule begins."""
    optimizer: Literal["adamw", "sgd", "paged_adamw_8bit"] = "adamw"
    """`paged_adamw_8bit` needs CUDA; on a CPU the same site uses `adamw`. Its moments begin anew in every round."""
    betas: Annotated[tuple[Beta, Beta], AddedLater([0.9, 0.999])] = (0.9, 0.999)
    """AdamW's: of the mean of gradients, and of their squares."""
    eps: Annotated[Positive, AddedLater(1e-8)] = 1e-8
    """AdamW's: added to the root of the mean square."""
    momentum: Annotated[float, AddedLater(0.0)] = Field(default=0.0, ge=0, lt=1)
    """SGD's, as in torch: v = momentum v + gradient. It begins anew in every round."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """Of the adapter's values, not of a round's change: decoupled with AdamW (Loshchilov & Hutter 2019), part of the
    gradient with SGD, as in torch."""
    proximal_mu: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """FedProx (Li et al. 2020): strength of the pull towards the global adapter; 0 is off."""
    seed: Annotated[int | None, AddedLater(None)] = Field(default=None, ge=0, lt=2**63)
    """`none` only: samples, dropout and rounding follow from it, so that a run can be repeated to the bit on the same
    machines. Samples and noise that protect somebody must be secret, so every other mechanism refuses it."""
    evaluate_every: int = Field(default=1, ge=1)
    """Held-out records are evaluated before round 1, then every so many rounds, and after the last one."""

    @model_validator(mode="after")
    def _names_what_the_optimizer_reads(self) -> TrainingSection:
        if self.optimizer == "sgd" and (self.betas, self.eps) != ((0.9, 0.999), 1e-8):
            raise ValueError("betas and eps are AdamW's, and the optimizer is sgd, which has momentum: leave them out")
        if self.optimizer != "sgd" and self.momentum:
            raise ValueError(f"momentum is SGD's, and the optimizer is {self.optimizer}: set betas, or optimizer: sgd")
        return self

    @property
    def is_constant(self) -> bool:
        """Whether every step of the run has the same learning rate."""
        return self.schedule == "constant" and self.warmup_steps == 0
