"""How orders, stage messages and vectors travel in Flower messages: the names of actions, records and fields."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

ARRAYS = "arrays"
"""Name of the ArrayRecord that carries the global adapter (server to site) or the masked vector (site to server)."""
CONFIG = "config"
"""Name of the ConfigRecord that carries everything else."""
ADAPTER = "adapter"
"""Key of the flat float32 adapter in ARRAYS."""
MASKED = "masked"
"""Key of the masked vector's message bytes (uint8) in ARRAYS."""
ORDER = "order"
"""Key of the order's canonical bytes in CONFIG."""
ORDER_SIGNATURE = "order-signature"
"""Key of the server's signature of the order's canonical bytes in CONFIG."""
RECEIPTS = "receipts"
"""Key of the receipts of this run that a site lacks, one a line, which come with an order in CONFIG."""
ROSTERS = "rosters"
"""Key of the earlier rosters that those receipts are under, one a line; missing where there are none."""
PAYLOAD = "payload"
"""Key of a protocol message's bytes in CONFIG."""
RECIPE_HASH = "recipe_hash"
"""Key of the recipe's hash (hex, ASCII) in the greeting's CONFIG."""
RUN = "run"
"""Key of the run's identifier (32 hexadecimal digits, ASCII) in the greeting's CONFIG: a site that judges the whole run
when it is greeted leaves out what the same run has been charged already."""
CONCLUSION = "conclusion"
"""Key of the canonical bytes of how a run ended, which come with its final adapter in CONFIG."""
LAYOUT = "layout"
"""Key of the JSON of that adapter's layout in CONFIG."""
PULL_ID = "sealora-pull-id"
"""HTTP header of a site's question for messages: the same for every attempt until an answer has come."""
ERROR = "error"
"""Key of the one sentence in CONFIG with which a site refuses an order."""


class Action(StrEnum):
    """Flower message types; each is one stage of a round, but for the first, and the last two, which come when a run is
    over."""

    HELLO = "query.hello"
    TRAIN = "train"
    EVALUATE = "evaluate"
    SHARE = "query.share"
    CHECK = "query.check"
    DISCLOSE = "query.disclose"
    MASK = "query.mask"
    CONFIRM = "query.confirm"
    OPEN = "query.open"
    HELD = "query.held"
    DELIVER = "query.deliver"


_NO_ARRAY = (TypeError, ValueError, EOFError, OSError, MemoryError)
"""Whatever a peer's bytes make NumPy raise."""


class WireArray(Protocol):
    """What is used of a Flower Array."""

    @property
    def data(self) -> bytes: ...
    def numpy(self) -> object: ...


class Content(Protocol):
    """What is used of a Flower RecordDict, so that this package needs no Flower."""

    @property
    def array_records(self) -> Mapping[str, Mapping[str, WireArray]]: ...
    @property
    def config_records(self) -> Mapping[str, Mapping[str, object]]: ...


def field(content: Content, key: str) -> bytes | str | int | None:
    """A field of the ConfigRecord, or None if it is missing or of another type."""
    record = content.config_records.get(CONFIG)
    value = None if record is None else record.get(key)
    return value if isinstance(value, bytes | str | int) else None


def float32_array(content: Content, key: str) -> NDArray[np.float32] | None:
    """An array of the ArrayRecord, or None if it is missing, of another type, or no array comes of its bytes."""
    record = content.array_records.get(ARRAYS)
    value = None if record is None else record.get(key)
    try:
        found = None if value is None else np.asarray(value.numpy())
    except _NO_ARRAY:
        return None
    return found if found is not None and found.dtype == np.float32 else None


def array_bytes(content: Content, key: str) -> bytes | None:
    """The elements of an array of the ArrayRecord, or None if it is missing or no array comes of its bytes."""
    record = content.array_records.get(ARRAYS)
    value = None if record is None else record.get(key)
    try:
        return None if value is None else np.asarray(value.numpy()).tobytes()
    except _NO_ARRAY:
        return None


def content_bytes(content: Content) -> int:
    """Payload bytes of a Flower RecordDict: array data and configuration values, without framing."""
    total = 0
    for array_record in content.array_records.values():
        total += sum(len(array.data) for array in array_record.values())
    for config_record in content.config_records.values():
        for value in config_record.values():
            total += len(value) if isinstance(value, bytes | str) else 8
    return total
