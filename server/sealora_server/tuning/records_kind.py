"""What a person says of the records that they tune on."""

from __future__ import annotations

from enum import StrEnum


class RecordsKind(StrEnum):
    """Whether looking at exact figures tells of somebody."""

    PUBLIC = "public"
    SYNTHETIC = "synthetic"
    PRIVATE = "private"
