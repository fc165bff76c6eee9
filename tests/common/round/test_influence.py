"""One member that lies, knows the code and sends any words, against the bound on what it can do to the mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.entropy import SeededEntropy
from sealora_common.recipe import parse_recipe
from sealora_common.round.clip_norm import is_allowed, next_clip_norm
from sealora_common.round.clip_range import is_allowed_range, next_range
from sealora_common.round.contribution import Contribution, ContributionLayout, OpenedRound
from sealora_common.round.influence import mean_limit
from sealora_common.secagg import OpenedSum, RingVector
from sealora_common.secagg.rotation import BLOCK, _hadamard, _signs

ADAPTER = AdapterLayout((TensorSpec("m.lora_A.weight", (2, 8)), TensorSpec("m.lora_B.weight", (4, 2))))
DISTRIBUTED = (
    "privacy.mechanism=distributed",
    "training.steps_per_round=1",
    "training.sample_rate=0.5",
    "sealing.ring_bits=24",
    "sealing.weight_cap=100",
)
RECIPES = {
    "local": ("sealing.weight_floor=0.1",),
    "none": ("privacy.mechanism=none", "sealing.weight_floor=0.25", "sealing.ring_bits=12"),
    "uniform": ("sealing.weighting=uniform",),
    "rotation": ("sealing.rotation=true", "sealing.weight_floor=0.5"),
    "adaptive": ("privacy.target_quantile=0.5",),
    "distributed": DISTRIBUTED,
    "distributed, adaptive": (*DISTRIBUTED, "privacy.target_quantile=0.5"),
}


def recipe(name: str):
    return parse_recipe("name: test\nrounds: 1\nmodel: {base: b}\n", overrides=RECIPES[name])


def layout_of(name: str, parties: int) -> ContributionLayout:
    return ContributionLayout.of(recipe(name), ADAPTER, parties, rotation_seed="ab" * 16)


def honest(layout: ContributionLayout, count: int, seed: int, push: float = 0.0) -> list[RingVector]:
    """What honest sites send; with `push` 1 or -1 all at the end of what they can, at the least weight."""
    generator = np.random.default_rng(seed)
    vectors = []
    for site in range(count):
        weight = layout.weight_floor if push else generator.uniform(layout.weight_floor, 1.0)
        if layout.grid is not None:
            limit = layout.grid.site_limit
            length = layout.segments[0].length
            values = np.full(length, int(push) * limit) if push else generator.integers(-limit, limit, length)
        else:
            ends = np.full(layout.parameters, push) if push else generator.uniform(-1, 1, layout.parameters)
            factor = weight if "weight" in layout.tally else 1.0
            values = (ends * layout.clip_range / factor).astype(np.float32)
        contribution = Contribution(values, weight if "weight" in layout.tally else 1.0, 3.0, 0.5)
        vectors.append(layout.encode(contribution, SeededEntropy("honest", seed, site)))
    return vectors


def summed(vectors: list[RingVector], words: tuple[np.ndarray, ...]) -> OpenedSum:
    """The opened sum of honest vectors and the words of a liar, who is one of the survivors."""
    total = RingVector.zeros(vectors[0].segments)
    for vector in [*vectors, RingVector(vectors[0].segments, words)]:
        total.add_(vector)
    total.reduce_()
    return OpenedSum(total, tuple(range(len(vectors) + 1)))


def any_words(layout: ContributionLayout, seed: int) -> tuple[np.ndarray, ...]:
    """Words of any value, but for the count, without which nothing is opened."""
    generator = np.random.default_rng(seed)
    words = []
    for segment in layout.segments:
        kind = generator.integers(3)
        top = segment.modulus_mask
        drawn = generator.integers(0, top, segment.length, endpoint=True) if kind else np.full(segment.length, top)
        words.append(drawn.astype(segment.dtype))
    words[1][0] = 1
    return tuple(words)


def aimed(layout: ContributionLayout, others: list[RingVector], sign: float) -> tuple[np.ndarray, ...]:
    """The liar that knows what the others sent: it makes the sum whatever it wants, coordinate by coordinate."""
    count = len(others) + 1
    words = [np.zeros(segment.length, dtype=segment.dtype) for segment in layout.segments]
    known = RingVector.zeros(layout.segments)
    for other in others:
        known.add_(other)
    known.reduce_()
    if layout.grid is not None:
        wanted = layout.grid.encode(np.full(len(words[0]), int(sign) * layout.grid.sum_limit(count)))
    else:
        signs = np.full(len(words[0]), sign)
        if layout.rotation_seed:  # all coordinates of the block at the adapter's first
            first = np.zeros(BLOCK)
            first[0] = 1.0
            signs = sign * np.sign(_hadamard(first * _signs(BLOCK, layout.rotation_seed)))
        levels = layout._fixed_point.levels
        wanted = np.where(signs > 0, count * levels, 0).astype(words[0].dtype)
    words[0] = wanted - known.words[0]
    words[1] -= known.words[1]  # every figure at the least it can be
    words[1][0] = 1
    vector = RingVector(layout.segments, tuple(words))
    vector.reduce_()
    return vector.words


@settings(max_examples=150)
@given(st.sampled_from(sorted(RECIPES)), st.integers(2, 9), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_no_words_at_all_move_the_mean_beyond_the_bound(name, present, absent, seed):
    layout = layout_of(name, present + absent)
    limit = mean_limit(layout, present)
    others = honest(layout, present - 1, seed)
    for words in (any_words(layout, seed), aimed(layout, others, 1.0), aimed(layout, others, -1.0)):
        result = layout.decode(summed(others, words))
        assert np.abs(result.mean_delta).max() <= limit * (1 + 1e-12)
        assert is_possible(layout, result)


def is_possible(layout: ContributionLayout, result: OpenedRound) -> bool:
    """Whether honest sites could have said all the figures of a round."""
    count = len(result.survivors)
    least = layout.weight_floor if "weight" in layout.tally else 1.0
    return (
        least * count <= result.total_weight <= count
        and 0.0 <= result.clipped_fraction <= 1.0
        and (result.heldout_loss is None or -64.0 <= result.heldout_loss <= 128.0)
        and (result.unclipped is None or -1.0 <= result.unclipped <= 2.0)
    )


@pytest.mark.parametrize("name", sorted(RECIPES))
@pytest.mark.parametrize("present", [3, 8])
def test_a_liar_comes_close_to_the_bound_so_that_it_is_not_idle(name, present):
    """Against sites that all push one way, it moves the mean from one end to the other."""
    layout = layout_of(name, present)
    limit = mean_limit(layout, present)
    others = honest(layout, present - 1, 7, push=1.0)
    fair = layout.decode(summed(others, honest(layout, 1, 8, push=1.0)[0].words)).mean_delta
    spoiled = layout.decode(summed(others, aimed(layout, others, -1.0))).mean_delta
    assert np.abs(spoiled).max() >= 0.9 * limit
    assert np.abs(spoiled - fair).max() <= 2 * limit * (1 + 1e-12)
    if not layout.rotation_seed and layout.grid is None:
        assert np.abs(spoiled - fair).max() >= 0.9 * 2 * limit


def test_a_liar_that_knows_nothing_of_the_others_does_about_as_well():
    """Masks hide the others from it, but the middle of what they can send is no secret."""
    layout = layout_of("uniform", 5)
    reached = []
    for seed in range(40):
        others = honest(layout, 4, seed)
        levels = layout._fixed_point.levels
        body = np.full(layout.parameters, 5 * levels - 4 * levels // 2, dtype=np.uint16)
        words = (body, np.array([1] + [0] * len(layout.tally), dtype=np.uint32))
        reached.append(np.abs(layout.decode(summed(others, words)).mean_delta).max())
    assert np.mean(np.array(reached) >= 0.9 * mean_limit(layout, 5)) > 0.9


def test_a_weight_that_nearly_cancels_the_others_does_not_blow_up_the_mean():
    """The fault this rule is for: the sum of weights at one step above 0 scaled the mean by a thousand million."""
    layout = layout_of("local", 3)
    others = honest(layout, 2, 3)
    words = honest(layout, 1, 4)[0].words
    words[1][1:2] = 1 - others[0].words[1][1:2] - others[1].words[1][1:2]
    result = layout.decode(summed(others, words))
    assert result.total_weight == pytest.approx(0.3)
    assert np.abs(result.mean_delta).max() <= mean_limit(layout, 3)


@settings(max_examples=100)
@given(st.sampled_from(sorted(RECIPES)), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_the_next_round_s_ranges_stay_where_an_order_may_have_them_whatever_a_liar_sends(name, present, seed):
    own, layout = recipe(name), layout_of(name, present)
    others = honest(layout, present - 1, seed)
    used_range, used_norm = layout.clip_range, layout.clip_norm
    for words in (any_words(layout, seed), aimed(layout, others, 1.0), aimed(layout, others, -1.0)):
        result = layout.decode(summed(others, words))
        total = result.mean_delta * result.total_weight
        used_range = next_range(own, used_range, total, result.clipped_fraction)
        used_norm = next_clip_norm(own, used_norm, result.unclipped)
        assert is_allowed_range(own, used_range)
        assert is_allowed(own, used_norm)
