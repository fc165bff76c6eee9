"""Where DoRA's magnitudes begin: norms that are the same bits on every machine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.adapters.dora import row_norms
from sealora_common.adapter import adapter_kind

from single_examples import recipe_for


def test_norms_are_those_of_the_rows_and_known_to_the_bit():
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(3, 50)).astype(np.float32)
    np.testing.assert_allclose(row_norms(weight), np.linalg.norm(weight.astype(np.float64), axis=1), rtol=1e-7)
    assert row_norms(np.array([[3, 4], [1, 1]], dtype=np.float32)).view(np.uint32).tolist() == [0x40A00000, 0x3FB504F3]


def test_norms_do_not_depend_on_how_the_matrix_lies_in_memory():
    weight = np.random.default_rng(1).normal(size=(64, 300)).astype(np.float32)
    assert row_norms(weight).tobytes() == row_norms(np.asfortranarray(weight)).tobytes()


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("base", ["llama", "gpt2"])
def test_a_run_begins_with_the_base_model_as_it_is(tiny_base, base, quantization):
    recipe = recipe_for(tiny_base(base), adapter="dora", model={"quantization": quantization})
    model = AdaptedModel.load(recipe)
    tokens = torch.arange(3, 40)[None]
    with torch.no_grad():
        adapted = model.model(input_ids=tokens).logits
        with model.model.disable_adapter():
            plain = model.model(input_ids=tokens).logits
    assert torch.allclose(adapted, plain, rtol=1e-4, atol=1e-4)
    assert model.layout.base_values().keys() == {name for name in model.layout.names if "magnitude" in name}
    assert adapter_kind(recipe).initial(model.layout).keys() == set(model.layout.names)
