"""What a site's process and its workers say to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sealora_client.training.clipped_groups import ClippingFigures, Group, SumTerms
from sealora_common.adapter import Tensors
from sealora_common.recipe import Recipe


@dataclass(frozen=True)
class Prepare:
    """Load the recipe's model, unless it is loaded, and try it; answered by `Prepared`."""

    recipe: Recipe


@dataclass(frozen=True)
class Prepared:
    """The model is loaded and keeps examples apart.

    Attributes:
        bits: of the device, see `bits_of_device`.
    """

    bits: bytes


@dataclass(frozen=True)
class Begin:
    """A round begins; not answered.

    Attributes:
        terms: how sums are made until the next.
        adapter: all of it.
    """

    terms: SumTerms
    adapter: Tensors


@dataclass(frozen=True)
class Share:
    """A part of one sample; answered by one `PieceSum` for each piece, in order.

    Attributes:
        number: of the sample, counted by the site's process.
        trained: the trained tensors, where they have changed since the round began.
        pieces: the groups whose sums are wanted as one.
    """

    number: int
    trained: Tensors
    pieces: Sequence[Sequence[Group]]


@dataclass(frozen=True)
class PieceSum:
    """The sum of one piece.

    Attributes:
        number: of its sample.
        figures: of its groups, in order.
        total: shape (size,): int64, or float64 where nothing is clipped.
    """

    number: int
    figures: list[ClippingFigures]
    total: NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True)
class Failed:
    """What was asked cannot be done. The worker is of no use any more.

    Attributes:
        reason: one sentence, or an error's kind; tells nothing of a record.
    """

    reason: str
