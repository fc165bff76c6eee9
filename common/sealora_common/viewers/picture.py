"""Geometry of the picture of who sees what. The template only writes it down as SVG."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sealora_common.viewers.viewers import Place, Viewer

TextStyle = Literal["who", "head", "fact", "way"]

_LETTER: Final = 6.9
"""Pixels a letter of 12 takes at most on average, in the widest of the fonts that the style names."""
_LINE, _INSET, _ICON, _WAY = 17, 14, 40, 46
_TRAVELS: Final[dict[Place, str]] = {
    "site": "a sealed vector",
    "network": "a sealed vector",
    "server": "the adapter",
}
"""What goes on from where."""


@dataclass(frozen=True, slots=True)
class PictureText:
    """A line of text; `x` is where it begins, or its middle for what is on its way."""

    x: float
    y: float
    text: str
    style: TextStyle


@dataclass(frozen=True, slots=True)
class PictureBox:
    """What one viewer sees, below or beside their sign."""

    place: Place
    x: float
    y: float
    width: float
    height: float
    icon_x: float
    icon_y: float


@dataclass(frozen=True, slots=True)
class ViewerPicture:
    """Everything the template needs."""

    identifier: str
    description: str
    """All that the picture says, in words, for those who do not see it."""
    width: float
    height: float
    boxes: tuple[PictureBox, ...]
    arrows: tuple[str, ...]
    """The `d` of an SVG path each."""
    texts: tuple[PictureText, ...]


def viewer_pictures(viewers: Sequence[Viewer]) -> tuple[ViewerPicture, ViewerPicture]:
    """The picture for a window that is wide, and the one for a phone."""
    return _in_a_row(viewers), _in_a_column(viewers)


def _in_a_row(viewers: Sequence[Viewer], width: float = 984, gap: float = 12) -> ViewerPicture:
    wide = (width - gap * (len(viewers) - 1)) / len(viewers)
    top = _ICON + 2 * _INSET
    inner = [_facts(viewer, wide) for viewer in viewers]
    tall = max(_height(lines) for lines in inner)
    boxes, arrows, texts = [], [], []
    for index, (viewer, lines) in enumerate(zip(viewers, inner, strict=True)):
        x, middle = index * (wide + gap), index * (wide + gap) + wide / 2
        boxes.append(PictureBox(viewer.place, x, top, wide, tall, middle - _ICON / 2, _INSET / 2))
        texts += _placed(lines, x + _INSET, top)
        if index + 1 < len(viewers):
            begin, end = middle + _ICON / 2 + 10, middle + wide + gap - _ICON / 2 - 10
            level = _INSET / 2 + _ICON / 2
            arrows.append(f"M{begin:.1f} {level:.1f}H{end:.1f}m-6 -5l6 5l-6 5")
            texts.append(PictureText((begin + end) / 2, level - 8, _TRAVELS[viewer.place], "way"))
    return ViewerPicture(
        "viewers-row", _description(viewers), width, top + tall + 2, tuple(boxes), tuple(arrows), tuple(texts)
    )


def _in_a_column(viewers: Sequence[Viewer], width: float = 340) -> ViewerPicture:
    y, boxes, arrows, texts = 1.0, [], [], []
    for index, viewer in enumerate(viewers):
        lines = _facts(viewer, width - _ICON - _INSET)
        tall = _height(lines)
        boxes.append(PictureBox(viewer.place, 1, y, width - 2, tall, _INSET, y + _INSET))
        texts += _placed(lines, _ICON + 2 * _INSET, y)
        y += tall
        if index + 1 < len(viewers):
            middle = _INSET + _ICON / 2
            arrows.append(f"M{middle:.1f} {y + 5:.1f}V{y + _WAY - 6:.1f}m-5 -6l5 6l5 -6")
            texts.append(PictureText(middle + 70, y + _WAY / 2 + 2, _TRAVELS[viewer.place], "way"))
            y += _WAY
    return ViewerPicture(
        "viewers-column", _description(viewers), width, y + 2, tuple(boxes), tuple(arrows), tuple(texts)
    )


def _facts(viewer: Viewer, width: float) -> list[tuple[str, TextStyle]]:
    letters = int((width - 2 * _INSET) / _LETTER)

    def wrapped(text: str, style: TextStyle) -> list[tuple[str, TextStyle]]:
        return [(line, style) for line in textwrap.wrap(text, letters)]

    return [
        *wrapped(viewer.name[0].upper() + viewer.name[1:], "who"),
        ("sees", "head"),
        *wrapped(viewer.sees, "fact"),
        ("cannot see", "head"),
        *wrapped(viewer.unseen, "fact"),
    ]


def _height(lines: Sequence[tuple[str, TextStyle]]) -> float:
    heads = sum(style == "head" for _, style in lines)
    return max(len(lines) * _LINE + heads * 6 + 2 * _INSET - 4, _ICON + 2 * _INSET)


def _placed(lines: Sequence[tuple[str, TextStyle]], x: float, top: float) -> list[PictureText]:
    placed, y = [], top + _INSET - 4
    for text, style in lines:
        y += _LINE + (6 if style == "head" else 0)
        placed.append(PictureText(x, y, text, style))
    return placed


def _description(viewers: Sequence[Viewer]) -> str:
    return " ".join(
        f"{each.name[0].upper()}{each.name[1:]} sees: {each.sees}. Cannot see: {each.unseen}." for each in viewers
    )
