"""`checks/`: what the last `sealora-site check` and `sealora-site data check` found, for whoever looks later.

Numbers and sentences for this site alone; no record's text is in either.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict

from sealora_client.data_report.report import DataReport
from sealora_common.config import CONFIGURATION, from_json, read_file
from sealora_common.errors import UnreadableError
from sealora_common.health.finding import Finding
from sealora_common.storage.durable import write_atomically

CHECKS: Final = "checks"
SITE_CHECK: Final = "site.json"
DATA_CHECK: Final = "data.json"

Kept = TypeVar("Kept", bound=BaseModel)


class KeptPreflight(BaseModel):
    """A pre-flight."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    at: str
    """When it was over, UTC, ISO 8601."""
    trial: bool
    """Whether the model was loaded and a piece of a round tried."""
    findings: tuple[Finding, ...]

    @property
    def failures(self) -> int:
        """Findings that stop a run."""
        return sum(finding.status == "fail" for finding in self.findings)


class KeptDataReport(BaseModel):
    """A report on the site's data."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    at: str
    """When it was over, UTC, ISO 8601."""
    report: DataReport


def keep_preflight(directory: Path, findings: tuple[Finding, ...], *, trial: bool) -> None:
    """Keeps a pre-flight of the site in `directory`, in place of the one before.

    Raises:
        StorageError: it could not be written.
    """
    _keep(directory / CHECKS / SITE_CHECK, KeptPreflight(at=_now(), trial=trial, findings=findings))


def keep_data_report(directory: Path, report: DataReport) -> None:
    """Keeps a report on the site's own data, in place of the one before.

    Raises:
        StorageError: it could not be written.
    """
    _keep(directory / CHECKS / DATA_CHECK, KeptDataReport(at=_now(), report=report))


def kept_preflight(directory: Path) -> KeptPreflight | None:
    """The last one; None if there is none, or an earlier version wrote it otherwise."""
    return _read(KeptPreflight, directory / CHECKS / SITE_CHECK)


def kept_data_report(directory: Path) -> KeptDataReport | None:
    """The last one; None likewise."""
    return _read(KeptDataReport, directory / CHECKS / DATA_CHECK)


def _keep(path: Path, kept: BaseModel) -> None:
    write_atomically(path, kept.model_dump_json().encode() + b"\n")


def _read(kind: type[Kept], path: Path) -> Kept | None:
    try:
        return from_json(kind, read_file(path, CONFIGURATION.longest), CONFIGURATION)
    except (OSError, UnreadableError):
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
