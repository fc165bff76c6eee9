"""`sealora-site check`: the pre-flight, for people and for scripts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from sealora_common.errors import StorageError
from sealora_common.health.finding import Finding
from sealora_common.show.findings import show_findings


def check(
    config: Annotated[Path, typer.Option("--config", help="site.yaml; its directory is the site's.")] = Path(
        "site.yaml"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="Do not load the model and try a piece of a round.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Try everything that a run will need, and say what to do about what is not right. Exit code 1 if anything fails.

    Nothing is charged to the privacy ledger, nothing leaves the site, and a site that is at work is not disturbed.
    """
    from sealora_client.check.preflight import preflight
    from sealora_client.operator.kept_checks import keep_preflight

    found: list[Finding] = []

    def noted() -> Iterator[Finding]:
        for finding in preflight(config, trial=not quick):
            found.append(finding)
            yield finding

    with quiet_libraries():
        ready = show_findings(noted(), as_json=as_json, ready="This site can take part.")
    if config.exists():
        with suppress(StorageError):  # a full disk is among the findings
            keep_preflight(config.absolute().parent, tuple(found), trial=not quick)
    if not ready:
        raise typer.Exit(1)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """What libraries log or warn of while they load a model is none of the findings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
