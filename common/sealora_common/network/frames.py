"""Several messages in one HTTP body: each preceded by its length, as Flower frames its streams."""

from __future__ import annotations

from collections.abc import Iterable

FRAMES = "application/vnd.sealora.frames"
"""Media type of such a body. Where Flower's Fleet and Runtime APIs take one message, ours also take it with the parts
that belong to it:

    push-messages   the request, then a PushObjectRequest for each part that comes with it
    pull-messages   the answer, then a PullObjectResponse for each part that comes with it
"""
PART_BYTES = 1 << 18
"""Parts up to this size travel with their message; larger ones by themselves, for they may be there already."""
PARTS_BYTES = 1 << 20
"""Parts that travel with a message have at most this size together."""
MOST_PARTS = 10_000
"""So many parts travel with a message, or with all messages of one body. A frame may be empty, and four bytes of a body
become a hundred times as much in memory."""
WAIT = "sealora-wait"
"""HTTP header of a question for messages: seconds for which it may be held until there is one."""
LONGEST_WAIT_SECONDS = 20
"""A question is held no longer: proxies give up connections that are silent for half a minute."""
_HEAD = 4


def to_frames(parts: Iterable[bytes]) -> bytes:
    """The body with these parts.

    Example:
        >>> from_frames(to_frames([b"one", b"", b"three"]))
        [b'one', b'', b'three']
    """
    return b"".join(len(part).to_bytes(_HEAD, "big") + part for part in parts)


def from_frames(body: bytes) -> list[bytes]:
    """The parts of a body.

    Raises:
        ValueError: it is cut short, or has more parts than `MOST_PARTS` and the message they travel with.
    """
    parts: list[bytes] = []
    at = 0
    while at < len(body):
        end = at + _HEAD + int.from_bytes(body[at : at + _HEAD], "big")
        if at + _HEAD > len(body) or end > len(body):
            raise ValueError("a framed body is cut short")
        if len(parts) > MOST_PARTS:
            raise ValueError(f"a framed body has more than {MOST_PARTS} parts")
        parts.append(body[at + _HEAD : end])
        at = end
    return parts


def chosen(
    parts: Iterable[tuple[str, bytes]], *, largest: int = PART_BYTES, room: int = PARTS_BYTES
) -> dict[str, bytes]:
    """Those parts that travel with their message: the first that are small enough, while there is room; `MOST_PARTS`
    at most.

    Args:
        parts: id and content.
        largest: bytes of one part.
        room: bytes of all together.
    """
    taken: dict[str, bytes] = {}
    for name, content in parts:
        if len(taken) == MOST_PARTS:
            break
        if len(content) <= min(largest, room) and name not in taken:
            taken[name] = content
            room -= len(content)
    return taken
