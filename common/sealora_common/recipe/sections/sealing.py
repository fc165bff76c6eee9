"""The section `sealing`: how deltas are summed so that none is seen."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from sealora_common.recipe.sections.section import Fraction, Positive, Section


class SealingSection(Section):
    """Secure aggregation (Bonawitz et al., CCS 2017)."""

    adversary: Literal["malicious", "curious"] = "malicious"
    """Against a malicious server more than 2/3 of the roster must answer, against a curious one more than 1/2."""
    min_survivors: int = Field(default=3, ge=2)
    """Fewest sites in an opened sum. With two, each reads the other's delta out of the sum."""
    ring_bits: int = Field(default=16, ge=12, le=32)
    """Bits a parameter on the wire."""
    clip_range: Literal["auto"] | Positive = "auto"
    """Public range of one coordinate of a delta; `auto` follows from learning rate and steps, then earlier sums."""
    rotation: bool = False
    """Randomised Hadamard rotation before rounding: keeps narrow rings accurate where a few coordinates are large."""
    weighting: Literal["records", "uniform"] = "records"
    """Weight of a site in the mean: its number of training records, or one."""
    weight_cap: int = Field(default=10_000, ge=1)
    """Records above this count no further, so that the weight has a public range; best near the largest site's number
    of them."""
    weight_floor: Fraction = 0.1
    """Least weight of a site, as a share of the cap's: a site with fewer records counts as if it had so many. The mean
    is divided by no less for each site, so that a member that lies about its weight moves it 1 / weight_floor times
    as far at most. With `weighting: uniform` every weight is one."""

    groups: int = Field(default=1, ge=1, le=333)
    """Groups that the sites are dealt into, anew each round, each sealed and opened by itself; 1, or 3 and more. What
    they are for: the groups without a lying member outvote those with one. Each needs `min_survivors` members."""
    combine: Literal["median", "trimmed_mean", "multi_krum", "near_median"] = "median"
    """What replaces the mean over several groups: coordinate by coordinate (Yin et al. 2018), or the mean of the groups
    nearest to each other (Multi-Krum, Blanchard et al. 2017) or to the coordinate-wise median."""
    trim: int = Field(default=1, ge=1)
    """How many groups with a liar `combine` withstands; `median` does not read it. `trimmed_mean` leaves out so many
    values at each end, `multi_krum` and `near_median` so many groups."""

    @model_validator(mode="after")
    def _groups_can_outvote(self) -> SealingSection:
        if self.groups == 2:
            raise ValueError("groups is 2, and of two groups none outvotes the other: take 1, or 3 and more")
        if self.groups > 1 and self.groups < self.fewest_combined:
            trim = self.trim - (self.fewest_combined - self.groups + 1) // 2
            remedy = f"take {self.fewest_combined} or more" + (f", or a trim of {trim} or less" if trim else "")
            raise ValueError(
                f"combine: {self.combine} with a trim of {self.trim} needs {self.fewest_combined} groups, and there "
                f"are {self.groups}: {remedy}"
            )
        return self

    @property
    def fewest_combined(self) -> int:
        """Fewest groups of which `combine` makes one mean. Multi-Krum's 2 trim + 3 is from Blanchard et al. 2017."""
        return {
            "median": 1,
            "trimmed_mean": 2 * self.trim + 1,
            "near_median": 2 * self.trim + 1,
            "multi_krum": 2 * self.trim + 3,
        }[self.combine]
