"""The files of a demo's sites: the same ones every time."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealora_common.config import read_file
from sealora_common.errors import UnreadableError, storage_error
from sealora_common.storage.durable import write_atomically

log = logging.getLogger(__name__)

DemoLine = Mapping[str, str | Sequence[Mapping[str, str]]]
"""One record as its file has it, with the part it belongs to in the field `split`."""

SiteLines = Mapping[str, Sequence[DemoLine]]
"""Each site's records, in the order of its file."""


@dataclass(frozen=True)
class DemoSite:
    """One site's file as `write_sites` left it."""

    name: str
    path: Path
    train: int
    heldout: int


def write_sites(directory: Path, lines: SiteLines) -> list[DemoSite]:
    """Writes `<directory>/<site>.jsonl` for each site. A file that already holds what it should is left as it is.

    Args:
        directory: where the files go; created if it is missing.
        lines: what each site records.

    Returns:
        The sites, in the order of `lines`, with their record counts.

    Raises:
        StorageError: a file could not be written.
    """
    sites = []
    for name, records in lines.items():
        content = _content(records)
        path = directory / f"{name}.jsonl"
        if not _holds(path, content):
            write_atomically(path, content)
        heldout = sum(record["split"] == "heldout" for record in records)
        sites.append(DemoSite(name, path, len(records) - heldout, heldout))
        log.info("%s: %d training and %d held-out records in %s", name, len(records) - heldout, heldout, path)
    return sites


def is_site_of(path: Path, lines: SiteLines) -> bool:
    """Whether the file is that of one of these sites, to the last byte and under its name.

    Raises:
        StorageError: it cannot be read.
    """
    return path.suffix == ".jsonl" and path.stem in lines and _holds(path, _content(lines[path.stem]))


def fraction(purpose: str, key: str) -> float:
    """A number in [0, 1) that depends on the arguments alone."""
    head = hashlib.sha256(f"{purpose}:{key}".encode()).digest()[:8]
    return int.from_bytes(head, "big") / 2**64


def part_of(key: str, heldout_fraction: float = 0.1) -> str:
    """`heldout` or `train`, for all records that share `key`."""
    return "heldout" if fraction("split", key) < heldout_fraction else "train"


def _content(records: Sequence[DemoLine]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def _holds(path: Path, content: bytes) -> bool:
    try:
        return read_file(path, len(content)) == content
    except (FileNotFoundError, UnreadableError):
        return False
    except OSError as error:
        raise storage_error(path, error) from error
