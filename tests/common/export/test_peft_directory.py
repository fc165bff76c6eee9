"""The PEFT directory: written by an exporter, and read back."""

from __future__ import annotations

import numpy as np
import pytest

from sealora_common.errors import ModelError
from sealora_common.export.choice import exporter_of
from sealora_common.export.peft_directory import read_adapter, read_tensors

from lora_kinds import lora
from pure_sites import LAYOUT, pure_recipe

RECIPE = pure_recipe(lora={"rank": 2, "alpha": 6.0, "seed": 3})
EXPORTER = exporter_of(RECIPE)


def test_equal_adapters_are_equal_files(tmp_path):
    tensors = lora(seed=3).initial(LAYOUT)
    reversed_order = dict(reversed(tensors.items()))
    assert EXPORTER.export(tmp_path / "a", tensors, RECIPE) == EXPORTER.export(tmp_path / "b", reversed_order, RECIPE)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_what_is_exported_is_read_back_to_the_bit(tmp_path):
    tensors = lora(seed=3).initial(LAYOUT)
    EXPORTER.export(tmp_path, tensors, RECIPE)
    found = read_adapter(tmp_path, LAYOUT)
    assert {name: value.tobytes() for name, value in found.items()} == {
        name: value.tobytes() for name, value in tensors.items()
    }


def test_an_adapter_of_another_layout_is_refused(tmp_path):
    EXPORTER.export(tmp_path, {LAYOUT.names[0]: np.zeros((2, 8), dtype=np.float32)}, RECIPE)
    assert set(read_tensors(tmp_path)) == {LAYOUT.names[0]}
    with pytest.raises(ModelError, match="is missing where the recipe's model needs"):
        read_adapter(tmp_path, LAYOUT)
