from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.adapter import AdapterLayout, TensorSpec, initial_adapter
from sealora_common.errors import ModelError

LAYOUT = AdapterLayout(
    (
        TensorSpec("base_model.model.a.lora_A.weight", (2, 8)),
        TensorSpec("base_model.model.a.lora_B.weight", (4, 2)),
        TensorSpec("base_model.model.b.lora_A.weight", (2, 3)),
        TensorSpec("base_model.model.b.lora_B.weight", (5, 2)),
    )
)
A_NAMES = (LAYOUT.names[0], LAYOUT.names[2])
B_NAMES = (LAYOUT.names[1], LAYOUT.names[3])


@st.composite
def layouts(draw):
    ranks = draw(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4))
    tensors = []
    for index, (rank, wide, tall) in enumerate(ranks):
        tensors += [
            TensorSpec(f"m{index}.lora_A.weight", (rank, wide)),
            TensorSpec(f"m{index}.lora_B.weight", (tall, rank)),
        ]
    return AdapterLayout(tuple(tensors))


@given(layouts(), st.integers(0, 2**32 - 1))
def test_flatten_and_unflatten_are_inverse(layout, seed):
    vector = np.random.default_rng(seed).normal(size=layout.size).astype(np.float32)
    tensors = layout.unflatten(vector)
    assert {name: value.shape for name, value in tensors.items()} == {t.name: t.shape for t in layout.tensors}
    np.testing.assert_array_equal(layout.flatten(tensors), vector)


@given(layouts())
def test_json_keeps_the_layout_and_its_digest(layout):
    again = AdapterLayout.from_json(layout.to_json())
    assert again == layout
    assert again.digest == layout.digest


def test_the_digest_tells_names_shapes_and_order_apart():
    first, second = LAYOUT.tensors[0], LAYOUT.tensors[1]
    others = [
        AdapterLayout((second, first)),
        AdapterLayout((first,)),
        AdapterLayout((first, TensorSpec(second.name, (2, 4)))),
        AdapterLayout((first, TensorSpec("x.lora_B.weight", second.shape))),
    ]
    assert len({layout.digest for layout in [AdapterLayout((first, second)), *others]}) == 5


@pytest.mark.parametrize(
    ("aggregation", "first", "second"),
    [("ffa", B_NAMES, B_NAMES), ("alternating", B_NAMES, A_NAMES), ("average", LAYOUT.names, LAYOUT.names)],
)
def test_what_is_trained_in_odd_and_even_rounds(aggregation, first, second):
    assert LAYOUT.trained(aggregation, 1).names == first
    assert LAYOUT.trained(aggregation, 2).names == second
    assert LAYOUT.trained(aggregation, 3).names == first


@pytest.mark.parametrize("aggregation", ["ffa", "alternating", "average"])
def test_what_travels_holds_all_that_any_round_trains(aggregation):
    trained = {name for number in (1, 2) for name in LAYOUT.trained(aggregation, number).names}
    assert set(LAYOUT.shared(aggregation).names) == trained


@given(layouts(), st.integers(0, 2**32 - 1))
def test_adding_a_part_moves_that_part_alone(layout, seed):
    generator = np.random.default_rng(seed)
    vector = generator.normal(size=layout.size).astype(np.float32)
    part = layout.trained("ffa", 1)
    delta = generator.normal(size=part.size)
    before = vector.copy()
    moved = layout.unflatten(layout.add(vector, part, delta))
    np.testing.assert_array_equal(vector, before)  # a copy
    for name, value in layout.unflatten(vector).items():
        change = part.unflatten(delta).get(name, np.zeros_like(value))
        np.testing.assert_allclose(moved[name], value + change, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop(LAYOUT.names[1]), "is missing where the recipe's model needs (4, 2)"),
        (
            lambda tensors: tensors.update({LAYOUT.names[1]: np.zeros((2, 4))}),
            "is of shape (2, 4) where the recipe's model needs (4, 2)",
        ),
    ],
)
def test_tensors_of_another_layout_are_named(change, said):
    tensors = LAYOUT.unflatten(np.zeros(LAYOUT.size, dtype=np.float32))
    change(tensors)
    with pytest.raises(ModelError) as caught:
        LAYOUT.flatten(tensors)
    assert LAYOUT.names[1] in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("shape", [(LAYOUT.size - 1,), (LAYOUT.size + 1,), (1, LAYOUT.size), ()])
def test_a_vector_of_another_length_is_refused(shape):
    with pytest.raises(ModelError, match="adapter vector has shape"):
        LAYOUT.unflatten(np.zeros(shape))


def test_unflattened_tensors_are_copies():
    vector = np.zeros(LAYOUT.size, dtype=np.float32)
    LAYOUT.unflatten(vector)[LAYOUT.names[0]][:] = 1
    assert not vector.any()


# The start of every run.


def test_the_initial_adapter_does_nothing_yet():
    """B is zero, so the adapter's product is, whatever A holds."""
    tensors = initial_adapter(LAYOUT, 0)
    assert all(not tensors[name].any() for name in B_NAMES)
    assert all(tensors[name].any() for name in A_NAMES)


def test_a_lies_evenly_within_peft_s_range():
    wide = AdapterLayout((TensorSpec("m.lora_A.weight", (64, 256)),))
    (values,) = initial_adapter(wide, 1).values()
    bound = 1 / np.sqrt(256)
    assert np.abs(values).max() <= bound
    assert np.abs(values.mean()) < 4 * bound / np.sqrt(3 * values.size)
    assert values.var() == pytest.approx(bound**2 / 3, rel=0.05)
    assert len(np.unique(values)) > 0.99 * values.size


def test_the_same_seed_gives_every_machine_the_same_bits():
    """Known answers: a site that drew another A would train another model than its peers."""
    tensors = initial_adapter(LAYOUT, 7)
    known = [0xBCD8DDF5, 0xBE9846BE, 0xBE7FF1CB, 0x3E3C0E89]
    assert tensors[A_NAMES[0]][0, :4].view(np.uint32).tolist() == known


def test_tensors_and_seeds_draw_streams_of_their_own():
    same_shape = AdapterLayout(tuple(TensorSpec(f"m{i}.lora_A.weight", (4, 8)) for i in range(4)))
    draws = [value.tobytes() for seed in (0, 1, 2**62) for value in initial_adapter(same_shape, seed).values()]
    assert len(set(draws)) == 12


def test_a_tensor_s_draw_does_not_depend_on_the_others():
    alone = initial_adapter(AdapterLayout(LAYOUT.tensors[:1]), 5)
    np.testing.assert_array_equal(alone[A_NAMES[0]], initial_adapter(LAYOUT, 5)[A_NAMES[0]])
