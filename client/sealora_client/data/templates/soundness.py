"""Whether a template shows records as they are meant: judged by what it makes of any text, before a record is shown.

What it makes of one record in particular is judged as that is shown: see `ChatTemplate`, and `altered` in `Unusable`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from sealora_client.data.record import Record, Role, Turn
from sealora_client.data.templates.chat import ChatTemplate
from sealora_client.data.templates.framed import NEUTRAL, Frame
from sealora_client.data.templates.template import Template
from sealora_common.errors import SealoraError
from sealora_common.recipe.sections.data import LearnedTurns

_MOMENTS = range(8)
"""Clocks and seeds under which a template has to write the same."""
_OPENED = re.compile(
    r"[<\[]\|?(?:begin_of_|start_of_)?(think|thinking|thought|reason|reasoning|reflection|analysis|scratchpad)\|?[>\]]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ModelTokens:
    """What a base model makes of token ids.

    Attributes:
        ends: those that end its turn.
        count: how many it has: ids of this and above are not its own.
    """

    ends: Collection[int]
    count: int


def fault_of(
    template: Template, tokens: ModelTokens, max_tokens: int, learned_turns: LearnedTurns | None = None
) -> str | None:
    """What the template does that would teach something else than is meant, and the remedy; None if nothing.

    Continues a sentence whose subject is the template. A template that fails on any text has no fault here: each
    record is told to be unusable.

    Args:
        template: what is judged.
        tokens: the base model's.
        max_tokens: of an example.
        learned_turns: the recipe's, if records are conversations of several exchanges.
    """
    try:
        return next(_faults(template, tokens, max_tokens, learned_turns), None)
    except SealoraError:
        return None


def _faults(
    template: Template, tokens: ModelTokens, max_tokens: int, learned_turns: LearnedTurns | None
) -> Iterator[str]:
    if isinstance(template, ChatTemplate):
        yield from filter(None, (judge(template) for judge in _JUDGES))
    (shown,) = template.shown([Record(NEUTRAL, NEUTRAL)])
    yield from _ill_at_ends(shown.learned, tokens)
    if isinstance(template, ChatTemplate) and learned_turns is not None:
        yield from filter(None, [_ill_at_conversations(template, learned_turns)])
    beyond = [token for token in (*shown.given, *shown.learned) if token >= tokens.count]
    if beyond:
        yield (
            f"takes a token of id {max(beyond)}, but the base model has an embedding for {tokens.count} tokens only: "
            "use a base model whose embedding fits its tokenizer"
        )
    if learned_turns is not None:  # which may bring a system's text
        (shown,) = template.shown([Record(NEUTRAL, NEUTRAL, earlier=(Turn("system", NEUTRAL),))])
    # Of the one word, at least a token of the prompt and one of the response are left.
    if len(shown.given) + 1 > max_tokens:
        yield (
            f"takes {len(shown.given)} tokens for a prompt of one word, which leaves nothing of data.max_tokens "
            f"{max_tokens}: agree on more, or on a shorter data.system_prompt"
        )


def _ill_at_ends(learned: Sequence[int], tokens: ModelTokens) -> Iterator[str]:
    ends = [token in tokens.ends for token in learned]
    if True not in ends:
        yield (
            "ends a response with no end mark of the model's, so that it would never learn to stop: name the token "
            "that ends a turn as eos_token in tokenizer_config.json or as eos_token_id in generation_config.json"
        )
    elif ends.index(True) != len(ends) - 1:
        yield "goes on after the mark that ends a response: mend it, or use another base model"


def _depends_on_the_moment(template: ChatTemplate) -> str | None:
    moments = [replace(template, moment=moment) for moment in _MOMENTS]
    try:
        if {(at.prompt_frame, at.whole_frame) for at in moments} == {(template.prompt_frame, template.whole_frame)}:
            return None
    except SealoraError:  # it failed on a clock's answer
        pass
    return (
        "reads the clock or draws at random, so that prompts differ between sites and days: agree on a day in "
        "data.template_date, or write a fixed text in its place, the same at every site"
    )


def _leaves_out(template: ChatTemplate) -> str | None:
    prompt, whole = template.prompt_frame.parts, template.whole_frame.parts
    if "prompt" not in prompt or "prompt" not in whole:
        return "leaves out prompts (it may read lists of parts only, or rewrite texts): use another base model"
    if whole.count("response") != 1 or whole[-1] != "response":
        return "does not end with the response as it is (it may rewrite texts): use another base model"
    if template.system_prompt is not None and "system" not in prompt:
        return "drops data.system_prompt: leave that out, or put its text into the records' prompts"
    return None


def _opens_reasoning(template: ChatTemplate) -> str | None:
    asked, before = template.prompt_frame.pieces[-1], template.whole_frame.pieces[-2]
    if not any(_left_open(text) for text in (asked, before)):
        return None
    return "opens a block of reasoning before the response, which would be learned as reasoning: use another base model"


def _left_open(text: str) -> bool:
    """Whether a block of reasoning begins in `text` that does not end there."""
    last = max((found.end() for found in _OPENED.finditer(text)), default=None)
    return last is not None and not re.search(r"[<\[]/|end_of_", text[last:])


def _asks_otherwise(template: ChatTemplate) -> str | None:
    if _continues(template.prompt_frame, template.whole_frame):
        return None
    return (
        "asks for a response with another text than stands before one that was given, so that what is trained is not "
        "what is used: use another base model"
    )


def _continues(prompt: Frame, whole: Frame) -> bool:
    same = (whole.parts[:-1], whole.pieces[:-2]) == (prompt.parts, prompt.pieces[:-1])
    return same and whole.pieces[-2].startswith(prompt.pieces[-1])


def _ill_at_conversations(template: ChatTemplate, learned_turns: LearnedTurns) -> str | None:
    system: tuple[tuple[Role, bool], ...] = () if template.system_prompt is None else (("system", False),)
    exchanges: tuple[tuple[Role, bool], ...] = (("user", False), ("assistant", learned_turns == "all")) * 2
    found = template.structure((*system, *exchanges, ("user", False), ("assistant", True)))
    if not isinstance(found, str):
        return None
    remedy = "agree on data.learned_turns: last, or use" if learned_turns == "all" else "use"
    return f"{found}: {remedy} another base model"


_JUDGES: tuple[Callable[[ChatTemplate], str | None], ...] = (
    _leaves_out,
    _depends_on_the_moment,
    _opens_reasoning,
    _asks_otherwise,
)
