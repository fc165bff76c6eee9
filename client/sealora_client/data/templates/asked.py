"""A conversation that waits for the model's answer, as its template shows it."""

from __future__ import annotations

from collections.abc import Sequence

from sealora_client.data.record import Record, Turn
from sealora_client.data.templates.framed import NEUTRAL
from sealora_client.data.templates.template import Template


def asked(template: Template, turns: Sequence[Turn]) -> list[int]:
    """Token ids up to where the answer to the last turn begins, as a record with these turns is given in training.

    Args:
        template: takes conversations, if there is more than one turn.
        turns: the system's if there is one, then the user's and the assistant's by turns; the last is the user's.

    Raises:
        UnusableError: the template or the tokenizer fails on it.
    """
    *earlier, last = turns
    if not earlier:
        (tokens,) = template.prompts([last.text])
        return tokens
    (shown,) = template.shown([Record(last.text, NEUTRAL, earlier=tuple(earlier))])
    return shown.given
