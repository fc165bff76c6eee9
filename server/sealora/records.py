"""The sites' records, where a recipe's `sites.simulated` names them: those in memory are written into a directory."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Final, TypeAlias

from sealora.arguments import path
from sealora.rows import SiteRecords, rows_of
from sealora_common.config import why_not
from sealora_common.errors import DataError, SealoraError
from sealora_common.recipe import Recipe, recipe_of
from sealora_common.storage.durable import write_atomically

RecordsBySite: TypeAlias = Mapping[str, SiteRecords]
"""A site's name -> its records."""

RECORDS: Final = "records"
"""In the directory of a run or comparison: copies of the records that were in memory, a file a site."""


def with_records(recipe: Recipe, records: object, directory: Path) -> Recipe:
    """The recipe with these records in place of `sites.simulated`; those in memory are written into `directory`.

    A file that is there already is kept if it holds the same, and never replaced by another.

    Args:
        recipe: as it is.
        records: see `RecordsBySite`; None leaves the recipe's own.
        directory: of the run.

    Raises:
        DataError: a site's records cannot be used.
        SealoraError: they are no mapping, a name is no site's, or other records are there.
    """
    if records is None:
        return recipe
    given = sites_of(records)
    named = _named(recipe, given, directory)
    for site, found in given.items():
        if not isinstance(found, str | PathLike):
            _write(site, named.sites.simulated[site], found)
    return named


def require_same_records(records: object, directory: Path) -> None:
    """Refuses records other than those that a run in `directory` began with; None is no records.

    Raises:
        DataError: they are others, or were not in memory then.
    """
    for site, found in sites_of({} if records is None else records).items():
        if isinstance(found, str | PathLike):
            continue
        kept = _place(directory, site)
        if not kept.exists():
            raise DataError(f"records of site {site}: the run in {directory} began with files: leave records out")
        _require_same(site, kept, _lines(site, found))


def forget_records(directory: Path) -> None:
    """Removes the records that were written into a directory in which no run has begun."""
    shutil.rmtree(directory / RECORDS, ignore_errors=True)


def sites_of(records: object) -> Mapping[str, object]:
    """What each site is given, by name.

    Raises:
        SealoraError: it is no mapping of names.
    """
    if not isinstance(records, Mapping):
        raise SealoraError(
            f"records is a {type(records).__name__}: give each site's by name, as in {{'north': frame, 'south': rows}}"
        )
    for site in records:
        if not isinstance(site, str):
            raise SealoraError(f"records has the key {site!r}: give each site's records under its name, a text")
    return records


def _named(recipe: Recipe, records: Mapping[str, object], directory: Path) -> Recipe:
    """The recipe whose `sites.simulated` are these sites; their names are judged before any is part of a path."""
    places = {
        site: str(path(f"records of site {site}", found))
        if isinstance(found, str | PathLike)
        else str(_place(directory, site))
        for site, found in records.items()
    }
    return recipe_of(recipe.model_dump(mode="json"), where="records", overrides={"sites.simulated": places})


def _place(directory: Path, site: str) -> Path:
    return (directory / RECORDS / f"{site}.jsonl").absolute()


def _write(site: str, target: str, records: object) -> None:
    lines, kept = _lines(site, records), Path(target)
    if kept.exists():
        _require_same(site, kept, lines)
    else:
        write_atomically(kept, lines)


def _lines(site: str, records: object) -> bytes:
    """JSON Lines in UTF-8."""
    return b"".join(
        json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n" for row in rows_of(site, records)
    )


def _require_same(site: str, kept: Path, lines: bytes) -> None:
    try:
        with kept.open("rb") as file:
            known = hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise DataError(f"{kept}: cannot be read ({why_not(error)}): give this account the right to") from None
    if known != hashlib.sha256(lines).digest():
        raise DataError(
            f"records of site {site}: are not those in {kept.parent.parent}, which were written when it was begun: "
            "leave records out to go on with those, or choose another directory with out"
        )
