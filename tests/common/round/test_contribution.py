from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.entropy import SeededEntropy, SystemEntropy
from sealora_common.errors import RecipeError
from sealora_common.recipe import parse_recipe
from sealora_common.round.clip_norm import unclipped_share
from sealora_common.round.clip_range import initial_range
from sealora_common.round.contribution import Contribution, ContributionLayout, site_weight
from sealora_common.round.sum_grid import SumGrid
from sealora_common.secagg import OpenedSum, ProtocolError, RingVector
from sealora_common.secagg.encoding import FixedPoint


def opened(layout: ContributionLayout, vectors: list[RingVector]) -> OpenedSum:
    """The sum as a server opens it."""
    total = RingVector.zeros(layout.segments)
    for vector in vectors:
        total.add_(vector)
    total.reduce_()
    return OpenedSum(total, tuple(range(len(vectors))))


def recipe(*overrides: str):
    return parse_recipe("name: test\nrounds: 1\nmodel: {base: b}\n", overrides=overrides)


@st.composite
def rounds(draw):
    parties = draw(st.integers(2, 40))
    present = draw(st.integers(1, parties))
    bits = draw(st.sampled_from([12, 13, 16, 20, 24, 32]))
    reach = draw(st.sampled_from([1e-3, 0.05, 1.0, 300.0]))
    parameters = draw(st.sampled_from([0, 1, 7, 8, 9, 300]))
    seed = draw(st.integers(0, 2**32 - 1))
    return ContributionLayout(parameters, parties, bits, reach), present, seed


def contributions(layout: ContributionLayout, present: int, seed: int) -> list[Contribution]:
    generator = np.random.default_rng(seed)
    return [
        Contribution(
            values=(generator.uniform(-1, 1, layout.parameters) * layout.clip_range).astype(np.float32),
            weight=float(generator.uniform(0.1, 1.0)),
            heldout_loss=float(generator.uniform(0, 64)),
        )
        for _ in range(present)
    ]


@settings(max_examples=60)
@given(rounds())
def test_the_decoded_sum_is_the_weighted_mean_within_the_rounding_bound(drawn):
    layout, present, seed = drawn
    own = contributions(layout, present, seed)
    result = layout.decode(opened(layout, [layout.encode(c, SeededEntropy("t", i)) for i, c in enumerate(own)]))
    total = sum(c.weight for c in own)
    expected = sum((c.values.astype(np.float64) * c.weight for c in own), np.zeros(layout.parameters)) / total
    step = FixedPoint(-layout.clip_range, layout.clip_range, layout.bits, layout.parties).step
    weight_step = FixedPoint(0.0, 1.0, 32, layout.parties).step
    bound = present * (step + weight_step * layout.clip_range) / total * (1 + 1e-5)
    assert np.abs(result.mean_delta - expected).max(initial=0.0) <= bound
    assert result.total_weight == pytest.approx(total, abs=present * weight_step)
    assert result.heldout_loss == pytest.approx(
        np.mean([c.heldout_loss for c in own]), abs=FixedPoint(-64.0, 128.0, 32, layout.parties).step
    )
    assert result.clipped_fraction == pytest.approx(0.0, abs=weight_step)
    assert result.survivors == tuple(range(present))


@settings(max_examples=30)
@given(rounds())
def test_no_sum_wraps_even_at_the_ends_of_the_range(drawn):
    layout, _, _ = drawn
    for end in (-1.0, 1.0):
        extreme = Contribution(np.full(layout.parameters, end * layout.clip_range, dtype=np.float32), 1.0, 64.0)
        vectors = [layout.encode(extreme, SeededEntropy("e", index)) for index in range(layout.parties)]
        result = layout.decode(opened(layout, vectors))
        np.testing.assert_allclose(result.mean_delta, end * layout.clip_range, rtol=1e-5)
        assert result.heldout_loss == pytest.approx(64.0, abs=1e-4)


def test_rounding_is_unbiased():
    layout = ContributionLayout(20_000, 3, 12, 1.0)
    value = 0.12345
    vector = layout.encode(Contribution(np.full(20_000, value, dtype=np.float32), 1.0, 1.0), SystemEntropy())
    decoded = layout.decode(opened(layout, [vector])).mean_delta
    step = FixedPoint(-1.0, 1.0, 12, 3).step
    assert len(np.unique(decoded)) == 2
    assert abs(decoded.mean() - value) < 6 * step / 2 / np.sqrt(20_000)


def test_what_lies_outside_the_range_is_clipped_and_counted():
    layout = ContributionLayout(4, 3, 24, 1.0)
    delta = np.array([5.0, -5.0, 0.5, 0.0], dtype=np.float32)
    result = layout.decode(opened(layout, [layout.encode(Contribution(delta, 1.0, 1.0), SystemEntropy())]))
    np.testing.assert_allclose(result.mean_delta, [1.0, -1.0, 0.5, 0.0], atol=1e-5)
    assert result.clipped_fraction == pytest.approx(0.5, abs=1e-6)


def test_a_heavier_site_counts_more():
    layout = ContributionLayout(1, 3, 32, 4.0)
    own = [
        Contribution(np.array([1.0], dtype=np.float32), 1.0, 1.0),
        Contribution(np.array([-1.0], dtype=np.float32), 0.5, 1.0),
    ]
    result = layout.decode(opened(layout, [layout.encode(c, SystemEntropy()) for c in own]))
    assert result.mean_delta[0] == pytest.approx(1 / 3, abs=1e-6)


@pytest.mark.parametrize("spoiled", [np.nan, np.inf, -np.inf])
def test_a_delta_that_is_not_finite_is_never_encoded(spoiled):
    layout = ContributionLayout(2, 3, 16, 1.0)
    with pytest.raises(ValueError, match="finite"):
        layout.encode(Contribution(np.array([0.0, spoiled], dtype=np.float32), 1.0, 1.0), SystemEntropy())


@pytest.mark.parametrize("damage", [1, -1, 2**31])
def test_a_sum_that_does_not_count_its_survivors_is_refused(damage):
    layout = ContributionLayout(5, 3, 16, 1.0)
    vectors = [layout.encode(Contribution(np.zeros(5, dtype=np.float32), 0.5, 1.0), SystemEntropy()) for _ in range(3)]
    vectors[1].words[1][:1] += np.uint32(damage % 2**32)
    with pytest.raises(ProtocolError, match="does not add up"):
        layout.decode(opened(layout, vectors))


def test_a_sum_with_a_vector_too_few_or_too_many_is_refused():
    layout = ContributionLayout(5, 4, 16, 1.0)
    vectors = [layout.encode(Contribution(np.zeros(5, dtype=np.float32), 0.5, 1.0), SystemEntropy()) for _ in range(3)]
    total = opened(layout, vectors).vector
    for survivors in ((0, 1), (0, 1, 2, 3)):
        with pytest.raises(ProtocolError, match="does not add up"):
            layout.decode(OpenedSum(total, survivors))


def test_a_sum_left_masked_is_refused():
    """What a server would get that skipped a share: noise, and it says so."""
    layout = ContributionLayout(5, 3, 16, 1.0)
    words = tuple(
        np.frombuffer(SystemEntropy().bytes(segment.length * segment.dtype.itemsize), dtype=segment.dtype).copy()
        for segment in layout.segments
    )
    with pytest.raises(ProtocolError, match="does not add up"):
        layout.decode(OpenedSum(RingVector(layout.segments, words), (0, 1, 2)))


# The tally: what a round sums besides its vector.

ADAPTER = AdapterLayout((TensorSpec("m.lora_A.weight", (2, 8)), TensorSpec("m.lora_B.weight", (4, 2))))
LOCAL, ADAPTIVE = ("privacy.epsilon=8",), ("privacy.target_quantile=0.5",)
DISTRIBUTED = ("privacy.mechanism=distributed", "training.steps_per_round=1", "sealing.ring_bits=24")
NONE = ("privacy.mechanism=none",)
UNIFORM = ("sealing.weighting=uniform",)

# Of a private round: `heldout_loss` and `unclipped` carry noise, `clipped` is of a delta that does. The weight is the
# number of records, which is public.
TALLIES = {
    "local, training": (LOCAL, True, False, ("weight", "clipped")),
    "local, training and evaluating": (LOCAL, True, True, ("weight", "heldout_loss", "clipped")),
    "local, evaluating": (LOCAL, False, True, ("weight", "heldout_loss")),
    "adaptive, training": (ADAPTIVE, True, False, ("weight", "clipped", "unclipped")),
    "adaptive, evaluating": (ADAPTIVE, False, True, ("weight", "heldout_loss")),
    "distributed, training": (DISTRIBUTED, True, False, ("weight",)),
    "distributed, training and evaluating": (DISTRIBUTED, True, True, ("weight", "heldout_loss")),
    "distributed, evaluating": (DISTRIBUTED, False, True, ("weight", "heldout_loss")),
    "distributed and adaptive, training": (DISTRIBUTED + ADAPTIVE, True, False, ("weight",)),
    "none, training and evaluating": (NONE, True, True, ("weight", "heldout_loss", "clipped")),
    "uniform, training": (UNIFORM, True, False, ("clipped",)),
    "uniform, evaluating": (UNIFORM, False, True, ("heldout_loss",)),
}


@pytest.mark.parametrize("case", TALLIES)
def test_the_tally_holds_what_the_round_may_tell_and_no_more(case):
    overrides, trains, evaluates, tally = TALLIES[case]
    layout = ContributionLayout.of(recipe(*overrides), ADAPTER if trains else None, 3, evaluates=evaluates)
    assert layout.tally == tally
    assert [segment.length for segment in layout.segments] == [layout.parameters + layout.votes, 1 + len(tally)]
    site = Contribution(
        np.zeros(layout.segments[0].length, dtype=np.int64 if layout.grid else np.float32), 0.5, -3.25, 1.5
    )
    result = layout.decode(opened(layout, [layout.encode(site, SystemEntropy()) for _ in range(3)]))
    assert result.total_weight == pytest.approx(1.5 if "weight" in tally else 3.0)
    assert result.heldout_loss == (pytest.approx(-3.25, abs=1e-6) if "heldout_loss" in tally else None)
    if "unclipped" in tally:
        assert result.unclipped == pytest.approx(1.5, abs=1e-6)
    elif not layout.votes:
        assert result.unclipped is None


@pytest.mark.parametrize("loss", [-64.0, -1.0, 0.0, 63.9, 128.0])
def test_a_noisy_loss_may_lie_below_zero(loss):
    layout = ContributionLayout(0, 3, 16, 1.0, tally=("weight", "heldout_loss"))
    site = Contribution(np.zeros(0, dtype=np.float32), 1.0, loss)
    assert layout.decode(opened(layout, [layout.encode(site, SystemEntropy())])).heldout_loss == pytest.approx(
        loss, abs=1e-6
    )


# Distributed sums.


def noised(layout: ContributionLayout, seed: int) -> np.ndarray:
    """A site's noised sum, in grid steps."""
    generator = np.random.default_rng(seed)
    return generator.integers(-3 * layout.grid.grid_steps, 3 * layout.grid.grid_steps, layout.segments[0].length)


@settings(max_examples=30)
@given(st.integers(1, 4), st.booleans(), st.floats(0.01, 100), st.integers(0, 2**32 - 1))
def test_an_opened_sum_is_the_mean_gradient_over_the_expected_batch_exactly(present, adaptive, clip_norm, seed):
    own = recipe(*DISTRIBUTED, *(ADAPTIVE if adaptive else ()), "training.sample_rate=0.5", "sealing.weight_cap=100")
    layout = ContributionLayout.of(own, ADAPTER, 4, evaluates=False, clip_norm=clip_norm)
    units = [80, 100, 20, 60][:present]  # a site's records, all below the cap
    values = [noised(layout, seed + index) for index in range(present)]
    vectors = [
        layout.encode(Contribution(each, site_weight(own, count)), SeededEntropy("d", index))
        for index, (each, count) in enumerate(zip(values, units, strict=True))
    ]
    result = layout.decode(opened(layout, vectors))
    batch = 0.5 * sum(units)
    total = sum(values)
    expected = -total[: layout.parameters] * (clip_norm / layout.grid.grid_steps / batch)
    np.testing.assert_allclose(result.mean_delta, expected, rtol=1e-6)
    assert result.clipped_fraction == 0.0
    if adaptive:
        assert result.unclipped == pytest.approx(
            unclipped_share(float(total[-1]), layout.grid.grid_steps, batch), rel=1e-6
        )
    else:
        assert result.unclipped is None


def test_a_distributed_sum_is_encoded_without_any_rounding():
    layout = ContributionLayout.of(recipe(*DISTRIBUTED), ADAPTER, 4, evaluates=False)
    values = noised(layout, 0)
    first, second = (layout.encode(Contribution(values, 1.0), SeededEntropy("r", seed)) for seed in (0, 1))
    assert np.array_equal(first.words[0], second.words[0])
    assert np.array_equal(layout.grid.decode(first.words[0]), values)


def test_a_recipe_whose_noise_does_not_fit_the_ring_has_no_layout():
    wild = recipe(*DISTRIBUTED, "privacy.epsilon=0.01", "rounds=10000", "sealing.ring_bits=20")
    with pytest.raises(RecipeError, match="too narrow for the noise"):
        ContributionLayout.of(wild, ADAPTER, 3)


# What follows from the recipe.


def test_the_layout_follows_from_recipe_and_roster():
    own = recipe("sealing.ring_bits=20", "sealing.clip_range=0.5", "training.sample_rate=0.25", "sealing.weight_cap=80")
    assert ContributionLayout.of(own, ADAPTER, 7) == ContributionLayout(24, 7, 20, 0.5, expected=20.0)
    assert ContributionLayout.of(recipe("sealing.weight_floor=0.25"), ADAPTER, 7).weight_floor == 0.25
    assert ContributionLayout.of(own, ADAPTER, 7, clip_range=0.125).clip_range == 0.125
    assert ContributionLayout.of(own, ADAPTER, 7, clip_norm=3.0).clip_norm == 3.0
    assert ContributionLayout.of(recipe(), None, 7).parameters == 0
    shared = recipe(*DISTRIBUTED)
    assert ContributionLayout.of(shared, ADAPTER, 7).grid == SumGrid.of(shared, 7)
    assert ContributionLayout.of(shared, None, 7).grid is None


def test_the_automatic_range_covers_what_a_round_of_adam_can_do():
    automatic = recipe("training.learning_rate=0.01", "training.steps_per_round=4")
    assert initial_range(automatic) == pytest.approx(0.06)
    sgd = recipe(
        "training.learning_rate=0.01",
        "training.steps_per_round=4",
        "training.optimizer=sgd",
        "privacy.clip_norm=2",
    )
    assert initial_range(sgd) == pytest.approx(0.12)
    assert initial_range(recipe("sealing.clip_range=0.25")) == 0.25


@pytest.mark.parametrize(("records", "weight"), [(1, 0.2), (20, 0.2), (50, 0.5), (100, 1.0), (10**9, 1.0)])
def test_a_site_s_weight_is_its_share_of_a_public_cap_and_no_less_than_the_floor(records, weight):
    own = recipe("sealing.weight_cap=100", "sealing.weight_floor=0.2")
    assert site_weight(own, records) == pytest.approx(weight)


def test_uniform_weights_say_nothing_of_a_site_s_size():
    assert site_weight(recipe("sealing.weighting=uniform"), 3) == 1.0
