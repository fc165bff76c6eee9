"""A site's own figures, one round a line of its `history.jsonl`. LOCAL: they are exact, no noise protects them.

They stay at the site. A simulation, whose sites' directories lie in the run's, shows them; a deployed run's server
never learns them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from pydantic import SerializerFunctionWrapHandler, model_serializer

from sealora_common.config import from_json
from sealora_common.errors import UnreadableError
from sealora_common.records.json_lines import JsonLinesTail
from sealora_common.records.record import FiniteOrNone, WrittenRecord, finite
from sealora_common.round.order import Purpose

Curve = tuple[tuple[int, float], ...]
"""Points (rounds trained, figure); the point at 0 is the adapter nobody has trained yet."""

Figure = TypeVar("Figure")


class SiteRound(WrittenRecord):
    """What a site measured and spent in one round.

    A line holds what was worked out and nothing else, in this order: a figure that was never set is left out, one that
    is None is null.
    """

    round: int
    kind: Purpose
    run: str | None = None
    """The run's id; left out by older versions."""
    records: int | None = None
    """Training records."""
    heldout_records: int | None = None
    truncated: int | None = None
    """Records that are longer than the recipe's most tokens."""
    delta: FiniteOrNone = None
    persons: int | None = None
    """Whose records are trained on, where the recipe names a person column."""
    heldout_persons: int | None = None
    heldout_loss: FiniteOrNone = None
    """What `HeldoutFigure` says, of the adapter that came into the round: as a rule the loss, nats a token."""
    epsilon: FiniteOrNone = None
    """Spent by this run up to and including this round; None without privacy."""
    moved: bool | None = None
    """Whether training changed the adapter."""
    fraction_clipped: FiniteOrNone = None
    """Share of the gradients that were clipped."""
    median_norm: FiniteOrNone = None
    """Of the gradients, before clipping."""
    clip_norm: FiniteOrNone = None
    examples_seen: int | None = None
    non_finite: int | None = None
    """Gradients that were no number."""
    seconds: FiniteOrNone = None
    """What the site's work took."""
    vector_bytes: int | None = None
    """Of the sealed vector, the one message that holds anything of the records."""
    bytes_up: int = 0
    """This round's."""
    bytes_down: int = 0

    @model_serializer(mode="wrap")
    def _without_what_was_never_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        fields: dict[str, object] = handler(self)
        return {name: value for name, value in fields.items() if name in self.model_fields_set}

    def of_persons(self, trained: int, heldout: int) -> Self:
        """With how many persons the records are of."""
        return self.model_copy(update={"persons": trained, "heldout_persons": heldout})

    def evaluated(self, heldout_loss: float) -> Self:
        """With the exact held-out figure."""
        return self.model_copy(update={"heldout_loss": finite(heldout_loss)})

    def charged(self, epsilon: float | None) -> Self:
        """With the epsilon spent by this run; None without privacy."""
        return self.model_copy(update={"epsilon": finite(epsilon)})

    def trained(
        self,
        *,
        moved: bool,
        fraction_clipped: float,
        median_norm: float,
        clip_norm: float,
        examples_seen: int,
        non_finite: int,
    ) -> Self:
        """With the figures of training."""
        figures = {
            "moved": moved,
            "fraction_clipped": finite(fraction_clipped),
            "median_norm": finite(median_norm),
            "clip_norm": clip_norm,
            "examples_seen": examples_seen,
            "non_finite": non_finite,
        }
        return self.model_copy(update=figures)

    def timed(self, seconds: float) -> Self:
        """With the time that the work took."""
        return self.model_copy(update={"seconds": seconds})

    def masked(self, size: int) -> Self:
        """With the size of the vector that leaves."""
        return self.model_copy(update={"vector_bytes": size})

    def sent(self, *, bytes_up: int, bytes_down: int) -> Self:
        """With the bytes of the round's messages."""
        return self.model_copy(update={"bytes_up": bytes_up, "bytes_down": bytes_down})

    @property
    def is_charged(self) -> bool:
        """Whether it is known what the run has spent."""
        return "epsilon" in self.model_fields_set

    def to_line(self) -> str:
        """The line of the history, without its end."""
        return json.dumps(self.model_dump(mode="json"), allow_nan=False)


@dataclass(frozen=True, slots=True)
class SiteHistory:
    """All of one site's rounds so far, in the order it lived them (an aborted round may appear twice)."""

    name: str
    rounds: tuple[SiteRound, ...]

    @property
    def losses(self) -> Curve:
        """Held-out loss by rounds trained."""
        return curve_of({line.round - 1: line.heldout_loss for line in self.rounds})

    @property
    def epsilons(self) -> Curve:
        """Epsilon spent by rounds trained."""
        return curve_of({line.round: line.epsilon for line in self.rounds if line.kind == "train"})

    def latest(self, figure: Callable[[SiteRound], Figure | None]) -> Figure | None:
        """The newest value of `figure` that is not missing."""
        values = (figure(line) for line in reversed(self.rounds))
        return next((value for value in values if value is not None), None)


class SiteRoundsTail:
    """Hands out the rounds appended to a site's history since the last look."""

    def __init__(self, path: Path) -> None:
        self._tail = JsonLinesTail(path)

    def read(self) -> list[SiteRound]:
        """The new ones, oldest first. A line that was cut by a crash, or that a newer version wrote, is passed over."""
        return [found for line in self._tail.read() if (found := _site_round(line)) is not None]


def curve_of(points: Mapping[int, float | None]) -> Curve:
    """The points that are not missing, by rounds trained."""
    return tuple((trained, value) for trained, value in sorted(points.items()) if value is not None)


def _site_round(line: bytes) -> SiteRound | None:
    try:
        return from_json(SiteRound, line, nan_is_null=True)
    except UnreadableError:
        return None
