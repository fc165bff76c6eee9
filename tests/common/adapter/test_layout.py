from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.errors import ModelError

from lora_kinds import lora

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


@given(layouts(), st.integers(0, 2**32 - 1))
def test_adding_a_part_moves_that_part_alone(layout, seed):
    generator = np.random.default_rng(seed)
    vector = generator.normal(size=layout.size).astype(np.float32)
    part = lora().trained(layout, 1)
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


VALUES = np.array([1.5, -0.25], dtype="<f4")
BASED = AdapterLayout((TensorSpec("m.norm.weight", (2,), VALUES.tobytes()), TensorSpec("m.lora_B.weight", (4, 2))))


def test_values_of_the_base_model_are_part_of_a_layout():
    again = AdapterLayout.from_json(json.loads(json.dumps(BASED.to_json())))
    assert again == BASED
    assert again.digest == BASED.digest
    assert {name: value.tolist() for name, value in again.base_values().items()} == {"m.norm.weight": [1.5, -0.25]}
    other = AdapterLayout((TensorSpec("m.norm.weight", (2,), (2 * VALUES).tobytes()), BASED.tensors[1]))
    assert len({layout.digest for layout in (BASED, other, AdapterLayout.of(BASED.unflatten(np.zeros(10))))}) == 3


@pytest.mark.parametrize("values", ["", "AAAA", "AADAPwAAgL4AAAAA", "no base64!!!"])
def test_values_that_are_not_the_tensor_s_are_refused(values):
    with pytest.raises(ModelError, match=r"m\.norm\.weight"):
        AdapterLayout.from_json([("m.norm.weight", [2], values)])
