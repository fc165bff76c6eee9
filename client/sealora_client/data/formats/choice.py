"""Which layout a recipe's records have, and of which kind a file is: the one place that tells."""

from __future__ import annotations

from pathlib import Path

from sealora_client.data.formats.format import DataFormat, Rows
from sealora_client.data.formats.json_lines import json_lines
from sealora_client.data.formats.prompt_response import PromptResponse
from sealora_common.recipe.sections.data import DataSection


def data_format(section: DataSection) -> DataFormat:  # recipes know one as yet
    """The layout of the recipe's records."""
    return PromptResponse(section.prompt_field, section.response_field)


def file_kind(path: Path) -> Rows:  # sites have one as yet
    """The kind of the file, by its name."""
    return json_lines
