"""Of which kind a file is: the one place that tells."""

from __future__ import annotations

from pathlib import Path

from sealora_client.data.formats.format import Rows
from sealora_client.data.formats.json_lines import json_lines


def file_kind(path: Path) -> Rows:  # sites have one as yet
    """The kind of the file, by its name."""
    return json_lines
