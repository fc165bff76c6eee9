"""What attacks found of made-up personal records: what the site package tells, and `sealora memorisation` shows.

LOCAL: the figures are exact. They are of made-up records, but of adapters that were trained on real ones as well.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sealora_common.records.record import FiniteOrNone, WrittenRecord

DatumKind = Literal["name", "birth date", "telephone number", "record number"]


class Planting(WrittenRecord):
    """Which records are made up, and how often each is planted."""

    secrets: Annotated[int, Field(ge=1)]
    """Persons who are planted, each with one datum; as many others are held back."""
    repeats: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    """How many records each has in a site's training set: the persons take these by turns."""
    candidates: Annotated[int, Field(ge=1)]
    """False values that each true one is ranked among."""
    seed: int
    """All that is made up follows from it."""


class SecretFound(WrittenRecord):
    """What the attacks found of one made-up person's datum."""

    kind: DatumKind
    site: str | None
    """Among whose records it was planted; null if it was held back."""
    repeats: int
    """How many records of it were planted; 0 if it was held back."""
    space: int
    """Number of values that its own was drawn from."""
    gain: FiniteOrNone
    """By how much its loss fell from the untrained adapter to this one, in nats a token; null if it is no number."""
    rank: int
    """Of the true value among it and the candidates, the likeliest first, from 1."""
    continued: bool
    """Whether the model, given the record's true beginning, went on to its end to the letter."""
    told: bool
    """Whether the model, asked for it, said the true value."""


class AttackedAdapter(WrittenRecord):
    """What the attacks found of all that was planted and of all that was held back, under one adapter."""

    planted: tuple[SecretFound, ...]
    held_back: tuple[SecretFound, ...]
    wordings: int
    """In how many ways each datum was asked for."""
    unasked: int
    """Prompts that name nobody."""
    unasked_planted: int
    """Planted values that stood in the answers to these."""
    unasked_held_back: int
    """Values that were held back and stood there."""
