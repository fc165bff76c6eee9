"""The greeting: layouts with and without the base model's values, and how large it may be."""

from __future__ import annotations

import numpy as np
import pytest

from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.config import LINE
from sealora_common.errors import FederationError, ModelError
from sealora_common.round.hello import Hello


def of(*tensors: TensorSpec) -> Hello:
    layout = AdapterLayout(tensors).to_json()
    return Hello(site="a", recipe_hash="1" * 64, roster_hash="2" * 64, layout=layout)


def test_a_layout_comes_through_with_the_base_model_s_values():
    tensors = TensorSpec("w", (2, 3)), TensorSpec("n", (2,), np.array([1.0, 2.0], dtype="<f4").tobytes())
    assert Hello.parse(of(*tensors).to_bytes()).adapter_layout == AdapterLayout(tensors)


@pytest.mark.parametrize("layout", [[("n", [2], "AAAA")], [("n", [])], [("n", [2, 2, 2])], [("n", [2], "??")]])
def test_a_layout_that_is_none_makes_a_greeting_malformed(layout):
    content = of().model_copy(update={"layout": layout}).model_dump_json().encode()
    with pytest.raises(FederationError, match="malformed"):
        Hello.parse(content)


def test_more_values_than_a_server_reads_are_refused_at_the_site():
    size = LINE.longest * 3 // 16
    with pytest.raises(ModelError, match="more values of the base model than a greeting may hold"):
        of(TensorSpec("n", (size,), bytes(4 * size))).to_bytes()
