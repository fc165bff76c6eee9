"""Which data each task of the demo is tried on, by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from sealora_client.demo_data.coding import coding_lines
from sealora_client.demo_data.conversations import conversation_lines
from sealora_client.demo_data.currencies import currency_lines
from sealora_client.demo_data.departments import department_lines
from sealora_client.demo_data.files import DemoSite, SiteLines, is_site_of, write_sites
from sealora_client.demo_data.handbooks import handbook_lines
from sealora_client.demo_data.near_codes import near_code_lines
from sealora_client.demo_data.support import support_lines
from sealora_common.errors import DataError


class DemoTask(StrEnum):
    """What the sites of a demo teach the model."""

    CODING = "coding"
    DEPARTMENTS = "departments"
    NEAR_CODES = "near-codes"
    CONVERSATIONS = "conversations"
    HANDBOOKS = "handbooks"
    CURRENCIES = "currencies"
    SUPPORT = "support"


_LINES: Final[Mapping[DemoTask, Callable[[], SiteLines]]] = {
    DemoTask.CODING: coding_lines,
    DemoTask.DEPARTMENTS: department_lines,
    DemoTask.NEAR_CODES: near_code_lines,
    DemoTask.CONVERSATIONS: conversation_lines,
    DemoTask.HANDBOOKS: handbook_lines,
    DemoTask.CURRENCIES: currency_lines,
    DemoTask.SUPPORT: support_lines,
}


def build_demo(directory: Path, task: DemoTask = DemoTask.CODING) -> list[DemoSite]:
    """Writes the file of each site of a task, see `write_sites`.

    Raises:
        DataError: a package that the data is made from is not installed.
        StorageError: a file could not be written.
    """
    return write_sites(directory, _LINES[task]())


def are_demo_files(paths: Collection[Path]) -> bool:
    """Whether all these files are those of one task's sites, as `build_demo` writes them.

    A task whose data is made from a package that is not here is not recognised.

    Raises:
        StorageError: a file cannot be read.
    """
    if not paths:
        return False
    for lines_of in _LINES.values():
        try:
            lines = lines_of()
        except DataError:
            continue
        if all(is_site_of(path, lines) for path in paths):
            return True
    return False
