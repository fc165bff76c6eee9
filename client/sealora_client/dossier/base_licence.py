"""What the base model's own files say of its licence, if it is on this machine. Nothing is fetched for it."""

from __future__ import annotations

import re
from pathlib import Path

from sealora_client.model.fetch import is_here, locate_base
from sealora_client.model.model_files import licence_files
from sealora_common.config import CONFIGURATION, read_file, yaml_value
from sealora_common.dossier.evidence import Evidence, EvidenceFile
from sealora_common.dossier.figure import Figure
from sealora_common.errors import SealoraError, UnreadableError
from sealora_common.recipe.sections.model import ModelSection

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
"""Of a file that can be in a part."""


def licence_figures(section: ModelSection, evidence: Evidence) -> tuple[Figure, ...]:
    """What is found; empty if the model is not here, or its directory says nothing."""
    try:
        directory = locate_base(section) if is_here(section) else None
    except SealoraError:
        directory = None
    if directory is None:
        return ()
    figures: list[Figure] = []
    for path in licence_files(directory):
        try:
            content = read_file(path, CONFIGURATION.longest)
        except (OSError, UnreadableError):
            continue
        if _NAME.fullmatch(path.name):
            file = evidence.add(f"base-{path.name}", content)
            figures.append(file.worked_out("licence file of the base model", path.name, f"its text, in {file.path}"))
    stated = _of_the_card(evidence, directory / "README.md")
    return (*figures, stated) if stated is not None else tuple(figures)


def _of_the_card(evidence: Evidence, path: Path) -> Figure | None:
    """`license` in the front matter of a Hugging Face model card."""
    try:
        content = read_file(path, CONFIGURATION.longest)
        opening, front, _ = content.decode().split("---\n", 2)
        value = yaml_value(front)
    except (OSError, UnreadableError, ValueError):
        return None
    if opening or not isinstance(value, dict) or not isinstance(value.get("license"), str):
        return None
    file: EvidenceFile = evidence.add("base-README.md", content)
    return file.worked_out("licence on the base model's card", str(value["license"]), "`license` in its front matter")
