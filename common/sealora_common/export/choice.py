"""In which form a run publishes its adapter: the one place that tells."""

from __future__ import annotations

from sealora_common.export.exporter import Exporter
from sealora_common.export.peft_directory import PeftDirectory
from sealora_common.recipe import Recipe


def exporter_of(recipe: Recipe) -> Exporter:  # recipes know one as yet
    """Of the final adapter."""
    return PeftDirectory()
