"""The adapter's layout without the base model's weights is that of the loaded model."""

from __future__ import annotations

import shutil

import pytest

from sealora_client.model import outline
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.outline import outlined_layout
from sealora_common.errors import ModelError
from sealora_common.recipe import Recipe

from adapter_kinds import KINDS, ON_ONE_BASE

KINDS_WITH_LORA = {**KINDS, "lora": {}, "lora, average": {"lora": {"aggregation": "average"}}}


def recipe_on(directory, sections=None, **model) -> Recipe:
    model = {"base": str(directory), "quantization": "none", "compute_dtype": "float32", **model}
    return Recipe.model_validate({"name": "test", "rounds": 1, "model": model, **(sections or {})})


@pytest.mark.parametrize(("kind", "base"), [*ON_ONE_BASE, ("lora", "gpt2"), ("lora, average", "gemma")])
def test_names_and_shapes_are_those_of_the_loaded_model(tiny_base, kind, base):
    recipe = recipe_on(tiny_base(base), KINDS_WITH_LORA[kind])
    loaded, outlined = AdaptedModel.load(recipe).layout, outlined_layout(recipe)
    assert [(tensor.name, tensor.shape) for tensor in outlined.tensors] == [
        (tensor.name, tensor.shape) for tensor in loaded.tensors
    ]


def test_quantisation_changes_nothing(tiny_base):
    recipe = recipe_on(tiny_base(), quantization="nf4")
    assert outlined_layout(recipe).size == AdaptedModel.load(recipe).layout.size


def test_weights_are_not_read(tiny_base, tmp_path, monkeypatch):
    """So that a plan for a large model takes no large machine."""
    copy = shutil.copytree(tiny_base(), tmp_path / "copy")
    for path in copy.glob("*.safetensors"):
        path.write_bytes(b"no weights")
    monkeypatch.setattr(outline, "adapted_model", None)
    assert outlined_layout(recipe_on(copy)).size == outlined_layout(recipe_on(tiny_base())).size


def test_a_model_that_is_not_here_is_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("SEALORA_CACHE", str(tmp_path / "cache"))
    assert outlined_layout(recipe_on("smollm2-135m-instruct")) is None
    assert not (tmp_path / "cache").exists()


def test_a_damaged_model_is_refused_in_a_sentence(tiny_base, tmp_path):
    copy = shutil.copytree(tiny_base(), tmp_path / "copy")
    (copy / "config.json").write_text('{"model_type": "nothing known"}')
    with pytest.raises(ModelError, match=r"cannot be outlined \(.*\): check that its files are complete") as raised:
        outlined_layout(recipe_on(copy))
    assert "\n" not in str(raised.value)


def test_a_model_that_takes_no_such_adapter_is_refused(tiny_base):
    with pytest.raises(ModelError, match="no linear layer 'unknown'"):
        outlined_layout(recipe_on(tiny_base(), {"lora": {"target_modules": ["unknown"]}}))
