"""`sealora-site report`: this site's own report of a run, written anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_client.cli.trained.which import KeptRunName, SiteDirectory
from sealora_common.show.say import say, say_json


def report(
    run: KeptRunName = None,
    directory: SiteDirectory = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Write this site's report of a run: own figures, what left, what it cost and is left, whether receipts hold.

    Its figures are exact: it stays at this site.
    """
    from sealora_client.delivery.kept_run import find_run
    from sealora_client.round.course import run_text
    from sealora_client.run_report.page import write_run_report
    from sealora_common.records.names import REPORT

    kept = find_run(directory, run, with_adapter=False)
    found = write_run_report(directory, kept.run)
    if as_json:
        say_json(found.model_dump_json(indent=2))
        return
    receipts = found.receipts
    proven = f"the receipts of {receipts.rounds} rounds hold" if receipts.problem is None else receipts.problem
    say(f"{kept.directory / REPORT}: {run_text(found.run, found.recipe)}, {found.rounds_trained} rounds with this site")
    say(f"{proven}; {'its adapter is here' if found.has_ended else 'no final adapter yet'}")
