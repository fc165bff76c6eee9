"""The section `prompt_tuning`: the adapter, where it is virtual tokens before every text."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sealora_common.recipe.hash import AddedLater
from sealora_common.recipe.sections.section import Positive, Section


class PromptTuningSection(Section):
    """Embeddings of virtual tokens."""

    virtual_tokens: Annotated[int, Field(ge=1, le=4096), AddedLater(20)] = 20
    """How many. They take positions of the base model beside `data.max_tokens`."""
    initial_range: Annotated[Positive, AddedLater(0.5)] = 0.5
    """They begin uniformly between minus this and this, as in the paper; embeddings of most base models are smaller."""
    seed: Annotated[int, Field(ge=0, lt=2**63), AddedLater(0)] = 0
    """Public seed of what they begin with."""
