"""`sealora-site export`: a trained adapter for others, as PEFT or as a whole model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from sealora_client.cli.trained.which import RunName, SiteDirectory
from sealora_client.trained.form import Form
from sealora_common.errors import PolicyError
from sealora_common.show.say import say

_FORMS: Final[dict[Form, str]] = {
    "peft": "an adapter for PEFT",
    "merged": "a whole model for transformers",
    "onnx": "a whole model for ONNX's runtimes",
}


def export(
    out: Annotated[Path, typer.Option(help="The directory that is made.")],
    run: RunName = None,
    directory: SiteDirectory = Path(),
    merged: Annotated[bool, typer.Option("--merged", help="A whole model, with the adapter merged into it.")] = False,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="The same as one ONNX file, in float32; needs the extra `onnx`.")
    ] = False,
    base: Annotated[
        str | None, typer.Option(help="The name under which others know the base model.", show_default="the recipe's")
    ] = None,
    licence: Annotated[str, typer.Option("--license", help="Identifier of the licence, for the card.")] = "other",
) -> None:
    """Write a trained adapter for others: PEFT with tokenizer, card and licence, or a whole model, merged or as ONNX.

    It leaves nothing of this site in it but what the federation's adapter is. docs/model.md says what may leave.
    """
    from sealora_client.trained.offline import stay_offline

    stay_offline()
    from sealora_client.trained.hand_on import HandOn, hand_on
    from sealora_client.trained.trained_adapter import find_trained

    if merged and onnx:
        raise PolicyError("--merged and --onnx are two forms of the model: ask for one, then for the other")
    form: Form = "onnx" if onnx else "merged" if merged else "peft"
    trained = find_trained(run, directory)
    hand_on(trained, HandOn(out, form, base, licence))
    say(f"{out}: {_FORMS[form]}: {trained.sentence}; README.md says what ran and what it promises")
