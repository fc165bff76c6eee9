"""A report as one HTML page that needs nothing but itself: no network, no script."""

from __future__ import annotations

from pathlib import Path

from sealora_client.data_quality.missing import needing
from sealora_client.data_report.report import DataReport
from sealora_client.data_report.tables import tables
from sealora_client.data_report.terminal import LOCAL, verdict
from sealora_common.errors import StorageError
from sealora_common.storage.durable import write_atomically


def write_page(report: DataReport, path: Path) -> None:
    """Writes the page, for this account alone (mode 0600), over an earlier one.

    Raises:
        StorageError: it could not be written, or its name is not a page's, so that it might replace data.
        MissingLibraryError: there is no library for it.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise StorageError(f"{path}: is not the name of a page, and may be data: name it with .html at its end")
    write_atomically(path, page(report).encode())


def page(report: DataReport) -> str:
    """The page's HTML.

    Raises:
        MissingLibraryError: there is no library for it.
    """
    with needing("jinja2", "a page"):
        from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("sealora_client.data_report", "templates"),
        autoescape=True,  # names of files, recipes and labels are text that others wrote
        undefined=StrictUndefined,
    )
    findings = (
        ("What stops a run", "bad", "problem", report.problems),
        ("What to look into", "warn", "remark", report.remarks),
        ("What was not looked at", "soft", "left out", report.left_out),
    )
    return pages.get_template("page.html.j2").render(
        report=report, tables=tables(report), findings=findings, verdict=verdict(report), local=LOCAL
    )
