"""`sealora-site evaluate`: this site's own exact figures of the adapter that a run ended with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sealora_client.cli.trained.which import KeptRunName, SiteDirectory
from sealora_common.show.say import say, say_json


def evaluate(
    run: KeptRunName = None,
    directory: SiteDirectory = Path(),
    data: Annotated[
        Path | None, typer.Option(help="Other records, in the recipe's layout.", show_default="those held out")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Figures for each value of a field; may be repeated."),
    ] = None,
    examples: Annotated[int, typer.Option(min=0, max=1000, help="So many records, drawn by lot, with answers.")] = 0,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="The most tokens of an answer.", show_default="the recipe's")
    ] = None,
    beside: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            help="Measure this adapter too, which sealora-site personalise made; with --alone it shows what this "
            "site's records teach without the federation.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as one JSON object.")] = False,
) -> None:
    """Evaluate a run's adapter and the base model on this site's records: exact figures with intervals, for itself.

    Nothing is charged, and none of it may leave. It is written beside the kept run: evaluation.json, evaluation.html.
    """
    from sealora_client.trained.offline import stay_offline

    stay_offline()
    from sealora_client.delivery.kept_run import find_run
    from sealora_client.site_evaluation.evaluate import EvaluationWish
    from sealora_client.site_evaluation.evaluate import evaluate as evaluate_run
    from sealora_client.site_evaluation.evaluation import CONFIDENTIAL, EVALUATION_PAGE
    from sealora_client.site_evaluation.page import evaluation_lines, write_evaluation

    kept = find_run(directory, run)
    found = evaluate_run(kept, EvaluationWish(data, tuple(dict.fromkeys(by or ())), examples, tokens, beside))
    write_evaluation(kept.directory, found)
    if as_json:
        drawn = [example.model_dump() for example in found.examples]
        say_json(json.dumps(found.evaluation.model_dump(mode="json") | {"examples": drawn}, indent=2))
        return
    for line in evaluation_lines(found.evaluation):
        say(line)
    for example in found.examples:
        say(f"\nasked: {example.prompt}", lines=True)
        say(f"right answer: {example.right}", lines=True)
        for who, said, is_right in (
            ("adapter", example.adapter, example.adapter_is_right),
            ("base model", example.base, example.base_is_right),
        ):
            say(f"{who}, {'right' if is_right else 'wrong'}: {said}", lines=True)
    say(f"{kept.directory / EVALUATION_PAGE}: {CONFIDENTIAL}")
