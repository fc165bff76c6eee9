"""Of several threads that take masks off one vector, one at a time changes a block."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from sealora_common.secagg import RingVector, Segment
from sealora_common.secagg.masks import apply_batches, apply_masks

SEGMENTS = (Segment(100, 32),)
MEMORY = np.zeros(100, dtype="<u4")
KEYS = [bytes([number]) * 32 for number in range(8)]


class Watched(np.ndarray[Any, Any]):
    """Words that take their time to be changed, and notice who else changes them meanwhile."""

    lock = threading.Lock()
    inside = 0
    most = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **rest: Any) -> Any:
        def changed() -> Any:
            return getattr(ufunc, method)(*map(np.asarray, inputs), **rest)

        if out is None:
            return changed()
        target = np.asarray(out[0])
        if not np.shares_memory(target, MEMORY):  # a thread's own sum
            target[...] = changed()
            return out[0]
        with Watched.lock:
            Watched.inside += 1
            Watched.most = max(Watched.most, Watched.inside)
        try:
            result = changed()
            time.sleep(0.02)
            target[...] = result
        finally:
            with Watched.lock:
                Watched.inside -= 1
        return out[0]


def test_a_block_is_changed_by_one_thread_at_a_time() -> None:
    expected = RingVector.zeros(SEGMENTS)
    apply_masks(expected, KEYS, [])
    MEMORY[...], Watched.most = 0, 0
    words = MEMORY.view(Watched)
    apply_batches(RingVector(SEGMENTS, (words,)), (([key], []) for key in KEYS), threads=4)
    assert Watched.most == 1
    np.testing.assert_array_equal(MEMORY, expected.words[0])
