"""`sealora-site check`: the pre-flight, for people and for scripts."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from sealora_common.health.finding import Finding
from sealora_common.show.console import SafeConsole
from sealora_common.show.say import say_json

_STYLE = {"pass": "green", "warn": "yellow", "fail": "bold red"}


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

    found: list[Finding] = []
    console = SafeConsole(highlight=False, soft_wrap=True)
    with quiet_libraries():
        for finding in preflight(config, trial=not quick):
            found.append(finding)
            if not as_json:
                console.print(
                    Text(finding.status, style=_STYLE[finding.status]), Text(f" {finding.check:<12} {finding.said}")
                )
    failures = sum(finding.status == "fail" for finding in found)
    if as_json:
        say_json(json.dumps({"ok": failures == 0, "checks": [finding.model_dump() for finding in found]}, indent=2))
    elif failures:
        console.print(f"{failures} of {len(found)} checks failed.")
    else:
        console.print("This site can take part.")
    if failures:
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
