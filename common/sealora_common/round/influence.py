"""How far one member that lies can move the mean of a round.

Additive masks prove nothing about what they hide. Range proofs would (RoFL: Lycklama, Burkhalter, Viand, Küchler &
Hithnawi, IEEE S&P 2023, arXiv:2107.03311; ACORN: Bell et al., USENIX Security 2023), at many times the bytes and the
time, and are not used here. So a member can make the sum of the survivors' vectors any words at all, and the whole of
what is certain is how `ContributionLayout.decode` reads them: each coordinate within what that many honest sites can
sum to, divided by no less than the floor's weight a site. More certainty takes several sums, see `groups`.
"""

from __future__ import annotations

import math

from sealora_common.round.contribution import ContributionLayout
from sealora_common.secagg.rotation import BLOCK


def mean_limit(layout: ContributionLayout, survivors: int) -> float:
    """B, the largest absolute value of a coordinate of the mean that any opened sum is read as.

    One lying member can put each coordinate anywhere in [-B, B], whatever the others send: it moves the mean from m to
    no further than B + |m|, 2 B at most. With n survivors, public range R, floor f (1 if all weigh the same):

    - `local` and `none`: B = n R / (f n) = R / f; with the rotation sqrt(4096) times that, if it aims all coordinates
      of a block at one.
    - `distributed`: B = C (S n + Z) / (f n q K), with clipping norm C, a site's range of S clipping norms, the noise's
      range of Z clipping norms (see `SumGrid`), sampling rate q and `sealing.weight_cap` K.

    Args:
        layout: of the round.
        survivors: sites in the sum.
    """
    least_weight = survivors * (layout.weight_floor if "weight" in layout.tally else 1.0)
    if layout.grid is not None:
        return layout.sum_limit(survivors) / (layout.expected * least_weight)
    spread = math.sqrt(BLOCK) if layout.rotation_seed else 1.0
    return spread * layout.sum_limit(survivors) / least_weight
