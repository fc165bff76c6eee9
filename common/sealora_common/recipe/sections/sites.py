"""The section `sites`: who takes part, and how long they are waited for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sealora_common.config import Name
from sealora_common.recipe.hash import NOT_AGREED
from sealora_common.recipe.sections.section import Positive, Section


class SitesSection(Section):
    """Who takes part and how long the server waits for them."""

    minimum: int = Field(default=3, ge=2, le=1000)
    """Fewest sites of a federation."""
    training_timeout: Positive = 3600.0
    """Seconds a site has for a round's training."""
    stage_timeout: Positive = 300.0
    """Seconds a site has for each later stage of a round."""
    round_attempts: int = Field(default=3, ge=1, le=100)
    """How often a round is tried before the run stops (it can be resumed)."""
    simulated: Annotated[dict[Name, str], NOT_AGREED] = Field(default_factory=dict)
    """Simulation only: site name -> its JSONL file. Not part of the recipe's hash."""
