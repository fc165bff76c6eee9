"""A step's noise, drawn in a thread of its own while the device computes the step's sum.

Drawing it takes the processor and next to nothing of the interpreter; a GPU would be idle meanwhile. What is drawn does
not change by it: the one thing that is taken from the entropy, the step's key, is taken before the thread starts, in
the order of the draws that it always had. The noise is that step's and no other's: it is given out once, and dropped
with the key where the step ends, however it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from sealora_client.training.noise.keystream import KEY_BYTES
from sealora_common.entropy import Entropy

Noise = NDArray[np.int64]


class NoiseToTake:
    """The noise of one step, to be taken once."""

    def __init__(self, drawn: Future[Noise]) -> None:
        self._drawn: Future[Noise] | None = drawn

    def take(self) -> Noise:
        """The noise, once it is drawn.

        Raises:
            RuntimeError: it was taken before, or its step is over.
            Exception: whatever drawing it raised.
        """
        drawn, self._drawn = self._drawn, None
        if drawn is None:
            raise RuntimeError("a step's noise was asked for twice, or after its step")
        return drawn.result()

    def drop(self) -> None:
        """Forgets it: nobody can take it any more."""
        self._drawn = None


@contextmanager
def noise_meanwhile(draw: Callable[[Entropy], Noise], entropy: Entropy) -> Iterator[NoiseToTake]:
    """Draws noise while the body runs. The thread is over when this is.

    Args:
        draw: the noise from an entropy of which it takes one key, and nothing else.
        entropy: gives the key, here and now.
    """
    key = _OneKey(entropy.bytes(KEY_BYTES))
    with ThreadPoolExecutor(1, thread_name_prefix="noise") as thread:
        noise = NoiseToTake(thread.submit(draw, key))
        try:
            yield noise
        finally:
            noise.drop()


class _OneKey:
    """An entropy that holds one key, drawn already."""

    def __init__(self, key: bytes) -> None:
        self._key: bytes | None = key

    def bytes(self, count: int, /) -> bytes:
        """The key.

        Raises:
            RuntimeError: something else is asked for than one key, once.
        """
        key, self._key = self._key, None
        if key is None or count != len(key):
            raise RuntimeError(f"noise is drawn under one key of {KEY_BYTES} bytes, and nothing else")
        return key
