"""A small matrix between two drawn ones: what is drawn, and what is published."""

from __future__ import annotations

import numpy as np

from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.adapter.kinds.core import Core
from sealora_common.recipe.sections.adapters.core import CoreSection

KIND = Core(CoreSection(rank=16, seed=4))
LAYOUT = AdapterLayout(
    (
        TensorSpec("base_model.model.a.lora_A.weight", (16, 512)),
        TensorSpec("base_model.model.a.lora_B.weight", (256, 16)),
        TensorSpec("base_model.model.a.lora_core.weight", (16, 16)),
    )
)
A, B, R = LAYOUT.names


def test_outer_matrices_are_nearly_orthonormal_and_the_core_begins_with_nothing():
    tensors = KIND.initial(LAYOUT)
    for outer in (tensors[A], tensors[B].T):
        lengths = np.linalg.norm(outer, axis=1)
        angles = (outer / lengths[:, None]) @ (outer / lengths[:, None]).T - np.eye(16)
        assert np.abs(lengths - 1).max() < 0.15
        assert np.abs(angles).max() < 0.3
    assert not tensors[R].any()


def test_every_machine_draws_the_same_bits_whatever_order_it_has_the_tensors_in():
    """Known answers: a site that drew others would train another model than its peers."""
    tensors = KIND.initial(AdapterLayout(LAYOUT.tensors[::-1]))
    assert all(tensors[name].tobytes() == value.tobytes() for name, value in KIND.initial(LAYOUT).items())
    assert tensors[A][0, :2].view(np.uint32).tolist() == [0xBC1E8DE2, 0x3D888D5B]


def test_what_is_published_folds_the_core_into_b_however_often():
    tensors = KIND.initial(LAYOUT)
    tensors[R] = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    once = KIND.published(tensors)
    np.testing.assert_allclose(once[B], tensors[B] @ tensors[R], rtol=1e-4, atol=1e-5)
    again = KIND.published(once)  # a run that goes on from what it kept
    assert all(again[name].tobytes() == once[name].tobytes() for name in LAYOUT.names)
    assert once[A].tobytes() == tensors[A].tobytes()
    assert once[R].tobytes() == tensors[R].tobytes()


def test_the_core_alone_travels():
    assert KIND.shared(LAYOUT).names == KIND.trained(LAYOUT, 2).names == (R,)
