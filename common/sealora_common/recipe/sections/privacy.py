"""The section `privacy`: the guarantee and what it is bought with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sealora_common.recipe.sections.section import Positive, Section

ProtectingMechanismName = Literal["local", "distributed"]
MechanismName = Literal[ProtectingMechanismName, "none"]


class PrivacySection(Section):
    """The differential-privacy guarantee of every record (or person) of every site, trained on or held out."""

    mechanism: MechanismName = "local"
    """`local`: DP-SGD at each site. `distributed`: one step a round, each site adds a share of the noise, the sum
    carries all of it. `none`: no privacy; sites refuse it unless their policy allows it."""
    epsilon: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 8.0
    """Total over all rounds, for each site."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    """Must be below 1 / (number of training records, or persons) at every site."""
    clip_norm: Positive = 1.0
    """L2 clipping norm C of what one record (or person) contributes to a step."""
    clipping: Literal["flat", "per_layer"] = "flat"
    """`flat`: one norm over all trained matrices. `per_layer`: each of m matrices is clipped to C / sqrt(m)."""
    target_quantile: float | None = Field(default=None, gt=0, lt=1)
    """Adaptive clipping (Andrew et al. 2021): C follows a noisy count so that this share is not clipped."""
    spare_rounds: int = Field(default=0, ge=0, le=1000)
    """`distributed` only: rounds the noise is calibrated for beyond `rounds`. Each pays for one round that must be
    repeated because it was lost after sites had sent their masked vectors. Under `local` a site sends the same noised
    vector again, and evaluations are repeated alike: neither costs anything."""
    honest_survivors: int | None = Field(default=None, ge=1)
    """`distributed`: so many survivors of a round carry the full noise between them, besides those who read the sum
    and know their own share. Null: as many as are left when all drop out and collude that the sealing allows, one
    reading site at least."""
    records_per_person: int = Field(default=8, ge=1, le=10_000)
    """With `data.person_field`: at most so many of a sampled person's records, drawn anew, make its contribution. With
    `data.long_texts: split` likewise of a text's pieces."""
    heldout_clip: Positive = 8.0
    """Held-out loss of one record (in the objective's unit, as a rule mean nats a token; with `data.person_field` the
    mean over one person's records) is clipped to this before it is averaged and noised. An accuracy is not."""
