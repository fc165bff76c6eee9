"""`sealora-site chat`: answers of the adapter that a run ended with, offline."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from sealora_client.cli.trained.which import RunName, SiteDirectory
from sealora_common.show.say import say, say_json

_LONGEST_PROMPT = 2**20


def chat(
    run: RunName = None,
    directory: SiteDirectory = Path(),
    prompt: Annotated[
        list[str] | None, typer.Option(help="Answer this, and no more; once more for each that is asked.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0, max=10, help="Draw answers; 0 gives the likeliest words.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    most_tokens: Annotated[int, typer.Option("--tokens", min=1, help="The most tokens of an answer.")] = 256,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line: prompt and answer.")] = False,
) -> None:
    """Ask the model that the federation trained. Without --prompt, each line of standard input is a prompt of its own.

    Nothing is sent anywhere. Prompts go through the recipe's template and system prompt, as in training.
    """
    from sealora_client.trained.offline import stay_offline

    stay_offline()
    from sealora_client.trained.answers import Answers
    from sealora_client.trained.trained_adapter import find_trained

    trained = find_trained(run, directory)
    how = "greedy" if temperature == 0 else f"drawn at temperature {temperature:g}, seed {seed}"
    say(f"{trained.sentence}; answers are {how}", to=sys.stderr)
    answers = Answers(trained)
    for asked in prompt or _lines():
        (answer,) = answers.to([asked], most_tokens=most_tokens, temperature=temperature, seed=seed)
        if as_json:
            say_json(json.dumps({"prompt": asked, "answer": answer}, ensure_ascii=False))
        else:
            say(answer, lines=True)


def _lines() -> Iterator[str]:
    """What is typed, or piped, line by line; empty ones are passed over."""
    asks = sys.stdin.isatty()
    while True:
        try:
            if asks:
                say("prompt (Ctrl-D ends):", to=sys.stderr)
            line = sys.stdin.readline(_LONGEST_PROMPT)
        except KeyboardInterrupt:
            return
        if not line:
            return
        if line.strip():
            yield line.rstrip("\r\n")
