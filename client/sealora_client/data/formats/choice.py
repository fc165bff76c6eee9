"""Which layout a recipe's records have: the one place that tells."""

from __future__ import annotations

from sealora_client.data.formats.format import DataFormat
from sealora_client.data.formats.prompt_response import PromptResponse
from sealora_common.recipe.sections.data import DataSection


def data_format(section: DataSection) -> DataFormat:  # recipes know one as yet
    """The layout of the recipe's records."""
    return PromptResponse(section.prompt_field, section.response_field)
