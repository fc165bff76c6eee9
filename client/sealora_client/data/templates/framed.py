"""A text with its parts told apart: what people wrote, and the frame that the template put around it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Part = Literal["system", "prompt", "response"]
"""What people write: the recipe's system prompt, and a record's two texts."""

MARKERS: dict[Part, str] = {
    "system": "Q7mSystemTextQ7m",
    "prompt": "Q7mPromptTextQ7m",
    "response": "Q7mResponseTextQ7m",
}
"""Stand for the parts while a frame is rendered. Words that no template has a reason to change."""

NEUTRAL = "x"
"""A text that leaves a frame's own tokens as they are."""


@dataclass(frozen=True)
class Cut:
    """A place in a framed text, within one of its pieces.

    Attributes:
        piece: which piece, which is also how many texts stand before it.
        offset: characters of that piece that stand before it.
    """

    piece: int
    offset: int


BEGINNING = Cut(0, 0)


@dataclass(frozen=True)
class FramedText:
    """Pieces of a frame with people's texts between them.

    Attributes:
        pieces: of the frame, one more than there are texts; each may be empty.
        texts: what people wrote, in order.
    """

    pieces: tuple[str, ...]
    texts: tuple[str, ...]

    def __str__(self) -> str:
        """The whole, in order."""
        between = zip(self.texts, self.pieces[1:], strict=True)
        return self.pieces[0] + "".join(text + piece for text, piece in between)

    def between(self, start: Cut, stop: Cut) -> FramedText:
        """What stands from `start` to `stop`."""
        if start.piece == stop.piece:
            return FramedText((self.pieces[start.piece][start.offset : stop.offset],), ())
        first, *inner = self.pieces[start.piece : stop.piece]
        last = self.pieces[stop.piece][: stop.offset]
        return FramedText((first[start.offset :], *inner, last), self.texts[start.piece : stop.piece])


@dataclass(frozen=True)
class Frame:
    """What a template puts around texts, whatever they are.

    Attributes:
        pieces: one more than there are parts; each may be empty.
        parts: which text stands between them, in order.
    """

    pieces: tuple[str, ...]
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, rendered: str) -> Frame:
        """The frame of a text that was rendered with `MARKERS` for its texts.

        >>> Frame.of(f"<s>{MARKERS['prompt']}</s>")
        Frame(pieces=('<s>', '</s>'), parts=('prompt',))
        """
        named: dict[str, Part] = {marker: part for part, marker in MARKERS.items()}
        found = re.split("(" + "|".join(MARKERS.values()) + ")", rendered)
        return cls(tuple(found[::2]), tuple(named[marker] for marker in found[1::2]))

    def fill(self, texts: Mapping[Part, str]) -> FramedText:
        """With these texts in their places."""
        return FramedText(self.pieces, tuple(texts[part] for part in self.parts))

    def ending(self, last: str) -> Frame:
        """The same with another last piece."""
        return replace(self, pieces=(*self.pieces[:-1], last))


def shared_ends(one: Sequence[int], other: Sequence[int]) -> tuple[int, int]:
    """How many tokens both begin with, and with how many of the rest both end.

    >>> shared_ends([1, 2, 3, 9], [1, 2, 7, 8, 9])
    (2, 1)
    """
    most = min(len(one), len(other))
    head = next((place for place in range(most) if one[place] != other[place]), most)
    rest = most - head
    return head, next((place for place in range(rest) if one[-1 - place] != other[-1 - place]), rest)
