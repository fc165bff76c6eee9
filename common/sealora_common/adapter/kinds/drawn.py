"""Values that all parties draw alike from a public seed: by integer arithmetic and single IEEE 754 operations alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sealora_common.adapter.layout import TensorSpec


def uniform(spec: TensorSpec, bound: float, seed: int, position: int) -> NDArray[np.float32]:
    """Float32 of the tensor's shape, uniform in +-bound, the same bits on every machine.

    The draws come from Philox4x64-10 (Salmon et al. 2011), keyed by the public seed and the tensor's position in its
    layout. Nothing secret depends on them.
    """
    words = np.random.Philox(key=(seed << 32) + position).random_raw(spec.size)
    unit = (words >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1.0)
    return (unit * np.float32(bound)).reshape(spec.shape)
