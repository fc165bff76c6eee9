"""Conversations of several exchanges: what is given and what is learned take turns in one example.

Each response that is learned stands after the very tokens that would ask for it in use, and is learned with what ends
its turn. Where a template writes an earlier response otherwise than it writes the last one, that cannot be, and the
conversation is not shown: `soundness` says so of the template before round 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase

from sealora_client.data.record import Record, Role, Turn
from sealora_client.data.templates.control import token_ids
from sealora_client.data.templates.framed import BEGINNING, NEUTRAL, Cut, FramedText, shared_ends
from sealora_client.data.templates.template import Shown

_MARKER = "Q7mTurn{}TextQ7m"
_MARKED = re.compile(_MARKER.format("([0-9]{1,9})"))
Write = Callable[[Sequence[Turn], bool], str]
"""Renders turns; if told so, up to where the response to the last of them begins."""


@dataclass(frozen=True)
class Structure:
    """What a template puts around the turns of all conversations with the same roles.

    Attributes:
        pieces: one more than there are turns; the last is what ends the turn.
        order: the turns' places in the order in which they are written: some templates move the system's.
        written: the last as the template writes it.
        learned: for each turn that is learned, from where to where.
    """

    pieces: tuple[str, ...]
    order: tuple[int, ...]
    written: str
    learned: tuple[tuple[Cut, Cut], ...]

    def in_order(self, turns: Sequence[Turn]) -> tuple[str, ...]:
        """The turns' texts as they are written."""
        return tuple(turns[place].text for place in self.order)

    @property
    def asked(self) -> Cut:
        """Up to where the last response begins."""
        return self.learned[-1][0]


def turns_of(record: Record, system_prompt: str | None) -> tuple[Turn, ...]:
    """All turns of the record, with its own system's or else `system_prompt` if that is not None."""
    system = system_prompt if record.system is None else record.system
    first = () if system is None else (Turn("system", system),)
    return (*first, *record.exchanges, Turn("user", record.prompt), Turn("assistant", record.response, learned=True))


def structure_of(write: Write, shape: Sequence[tuple[Role, bool]], end: str) -> Structure | str:
    """What `write` makes of conversations of this shape, or why they cannot be shown, as `soundness` says it.

    Args:
        write: the template.
        shape: of each turn, its role and whether it is learned; the last is learned.
        end: ends a response for a template that puts nothing after the last one.
    """
    turns = [Turn(role, _MARKER.format(place), learned) for place, (role, learned) in enumerate(shape)]
    whole = _taken_apart(write(turns, False), turns)
    if whole is None:
        return "leaves out turns of a conversation, or rewrites them"
    pieces, order = whole
    written = pieces[-1]
    learned: list[tuple[Cut, Cut]] = []
    for place, turn in enumerate(turns):
        if not turn.learned:
            continue
        asked = _taken_apart(write(turns[:place], True), turns[:place])
        if asked is None or (asked[0][:-1], asked[1], True) != (
            pieces[:place],
            order[:place],
            pieces[place].startswith(asked[0][-1]),
        ):
            return "asks for a response with another text than stands before an earlier one that was given"
        alone = _taken_apart(write(turns[: place + 1], False), turns[: place + 1])
        if alone is None or (alone[0][:-1], alone[1]) != (pieces[: place + 1], order[: place + 1]):
            return "writes an earlier response otherwise than it writes the last"
        # White space after the mark that ends the turn is never generated: the model has stopped by then.
        ends = alone[0][-1].rstrip() or end
        if place == len(turns) - 1:
            pieces = (*pieces[:-1], ends)
        elif not pieces[place + 1].startswith(ends):
            return "does not end an earlier response as it ends the last"
        learned.append((Cut(place, len(asked[0][-1])), Cut(place + 1, len(ends))))
    return Structure(pieces, order, written, tuple(learned))


def shown_as(structure: Structure, turns: Sequence[Turn], tokenizer: PreTrainedTokenizerBase) -> Shown:
    """The conversation as tokens.

    Raises:
        UnusableError: the tokenizer fails on it.
    """
    whole = FramedText(structure.pieces, structure.in_order(turns))
    cuts = [cut for stretch in structure.learned for cut in stretch]
    prefixes = token_ids([whole.between(BEGINNING, cut) for cut in cuts], tokenizer)
    ends = [0]
    tokens: list[int] = []
    for before, cut, prefix in zip([BEGINNING, *cuts[:-1]], cuts, prefixes, strict=True):
        if len(prefix) > len(tokens) and prefix[: len(tokens)] == tokens:
            tokens = prefix
        else:  # a token reaches over the cut: what comes after it is tokenised alone
            (alone,) = token_ids([whole.between(before, cut)], tokenizer)
            tokens = tokens + alone
        ends.append(len(tokens))
    given = tokens[: ends[-2]]
    without = [*turns[:-2], replace(turns[-2], text=NEUTRAL), turns[-1]]
    neutral_text = FramedText(structure.pieces, structure.in_order(without))
    (neutral,) = token_ids([neutral_text.between(BEGINNING, structure.asked)], tokenizer)
    earlier = tuple(zip(ends[1:-2:2], ends[2:-2:2], strict=True))
    return Shown(given, tokens[ends[-2] :], *shared_ends(given, neutral), earlier=earlier)


def joined(stretches: Sequence[tuple[Sequence[int], bool]], head: int, tail: int) -> Shown:
    """A conversation whose stretches are tokenised already, each with whether it is learned; the last is."""
    tokens: list[int] = []
    earlier: list[tuple[int, int]] = []
    for stretch, learned in stretches[:-1]:
        if learned:
            earlier.append((len(tokens), len(tokens) + len(stretch)))
        tokens += stretch
    return Shown(tokens, list(stretches[-1][0]), head, tail, earlier=tuple(earlier))


def _taken_apart(rendered: str, turns: Sequence[Turn]) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
    """What stands around the turns' texts, and the turns in the order they stand in; None unless each is there once."""
    found = _MARKED.split(rendered)
    order = tuple(map(int, found[1::2]))
    return (tuple(found[::2]), order) if sorted(order) == list(range(len(turns))) else None
