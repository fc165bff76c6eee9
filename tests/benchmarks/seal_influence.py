"""How far one member that knows the code moves the mean, as a share of the bound that the documents state."""

from __future__ import annotations

import numpy as np

from sealora_common.adapter import AdapterLayout, TensorSpec, adapter_kind
from sealora_common.entropy import SystemEntropy
from sealora_common.recipe import parse_recipe
from sealora_common.round.contribution import Contribution, ContributionLayout
from sealora_common.round.influence import mean_limit
from sealora_common.secagg import OpenedSum, RingVector

_RECIPE = """
name: influence
rounds: 1
model: {base: none}
privacy: {mechanism: local, epsilon: 8.0, delta: 1.0e-5}
"""


def measure(*, trials: int, sites: int = 10, parameters: int = 4096) -> float:
    """The largest coordinate that any lie gave the mean, over `mean_limit`; at most 1 if the bound holds.

    The liar sends what puts every coordinate at the end of its range whatever the others sent, and, in other trials,
    random words; its weight is the one that makes the sum of all weights least.
    """
    adapter = AdapterLayout((TensorSpec("m.lora_A.weight", (1, 8)), TensorSpec("m.lora_B.weight", (parameters, 1))))
    recipe = parse_recipe(_RECIPE)
    layout = ContributionLayout.of(recipe, adapter_kind(recipe).trained(adapter, 1), sites)
    generator = np.random.default_rng()
    worst = 0.0
    for trial in range(trials):
        honest = RingVector.zeros(layout.segments)
        for _ in range(sites - 1):
            values = generator.normal(scale=layout.clip_range / 3, size=layout.parameters).astype(np.float32)
            honest.add_(layout.encode(Contribution(values, weight=0.5, heldout_loss=2.0), SystemEntropy()))
        honest.reduce_()
        words = [
            generator.integers(0, segment.modulus_mask, segment.length, dtype=np.uint64, endpoint=True)
            for segment in layout.segments
        ]
        if trial % 2:  # knows the others' sum, as colluding members nearly do
            words[0] = layout.segments[0].modulus_mask - honest.words[0].astype(np.uint64)
        words[1] = (-honest.words[1].astype(np.int64)).astype(np.uint64) & layout.segments[1].modulus_mask
        words[1][0] = 1  # the count must come out right
        lie = RingVector(
            layout.segments,
            tuple(word.astype(segment.dtype) for word, segment in zip(words, layout.segments, strict=True)),
        )
        honest.add_(lie)
        honest.reduce_()
        mean = layout.decode(OpenedSum(honest, tuple(range(sites)))).mean_delta
        worst = max(worst, float(np.abs(mean).max()) / mean_limit(layout, sites))
    return worst
