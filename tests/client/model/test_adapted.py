from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from peft import get_peft_model_state_dict

from sealora_client.model.adapted import AdaptedModel, adapted_model
from sealora_client.model.model_files import digest_of
from sealora_common.adapter import AdapterLayout
from sealora_common.errors import ModelError
from sealora_common.recipe.schema import Recipe
from sealora_common.recipe.sections.lora import LoraSection
from sealora_common.recipe.sections.model import ModelSection

from lora_kinds import lora

KINDS = ["llama", "gpt2", "qwen2", "gemma"]


@pytest.fixture
def recipe(tiny_base):
    def make(kind="llama", *, lora=None, **fields) -> Recipe:
        model = {"base": str(tiny_base(kind)), "quantization": "none", "compute_dtype": "bfloat16"} | fields
        return Recipe(name="test", rounds=1, model=ModelSection(**model), lora=LoraSection(**(lora or {})))

    return make


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_layout_is_what_peft_saves(recipe, kind, quantization):
    model = AdaptedModel.load(recipe(kind, quantization=quantization))
    saved = get_peft_model_state_dict(model.model)
    assert {t.name: t.shape for t in model.layout.tensors} == {name: tuple(t.shape) for name, t in saved.items()}
    assert list(model.layout.names) == sorted(model.layout.names)


def test_layout_does_not_depend_on_quantisation(recipe):
    assert AdaptedModel.load(recipe()).layout == AdaptedModel.load(recipe(quantization="nf4")).layout


def test_adapter_is_in_float32_over_a_bfloat16_base(recipe):
    model = AdaptedModel.load(recipe())
    assert {parameter.dtype for parameter in model.parameters_of(model.layout)} == {torch.float32}
    assert model.model.get_base_model().lm_head.weight.dtype == torch.bfloat16


def test_a_new_model_carries_the_recipe_s_initial_adapter(recipe):
    model = AdaptedModel.load(recipe(lora={"seed": 7}))
    expected = lora(seed=7).initial(model.layout)
    for name, value in model.read(model.layout.names).items():
        np.testing.assert_array_equal(value, expected[name])


def test_what_is_written_is_read_and_the_rest_stays(recipe):
    model = AdaptedModel.load(recipe())
    halves = lora().trained(model.layout, 1)
    before = model.read(model.layout.names)
    written = {t.name: np.random.default_rng(0).normal(size=t.shape).astype(np.float32) for t in halves.tensors}
    for value in written.values():
        value.flags.writeable = False
    model.write(written)
    after = model.read(model.layout.names)
    for name in model.layout.names:
        np.testing.assert_array_equal(after[name], written.get(name, before[name]))
        assert after[name].dtype == np.float32


def test_what_is_read_is_a_copy(recipe):
    model = AdaptedModel.load(recipe())
    name = model.layout.names[0]
    model.read([name])[name][:] = 9
    assert not (model.read([name])[name] == 9).any()


def test_train_only_asks_for_gradients_of_exactly_these_tensors(recipe):
    model = AdaptedModel.load(recipe())
    for round_number in (1, 2):
        layout = lora("alternating").trained(model.layout, round_number)
        model.train_only(layout)
        trained = {id(parameter) for parameter in model.parameters_of(layout)}
        assert {id(p) for p in model.model.parameters() if p.requires_grad} == trained
    model.train_only(AdapterLayout(()))
    assert not any(parameter.requires_grad for parameter in model.model.parameters())


def test_parameters_and_tensors_come_in_layout_order(recipe):
    model = AdaptedModel.load(recipe())
    tensors = model.tensors_of(model.layout)
    assert tuple(name for name, _ in tensors) == model.layout.names
    for parameter, (_, tensor) in zip(model.parameters_of(model.layout), tensors, strict=True):
        assert parameter is tensor.parameter
        assert tensor.refusal() is None


def test_unknown_tensor_and_wrong_shape_are_refused_before_anything_is_written(recipe):
    model = AdaptedModel.load(recipe())
    first, second = model.layout.tensors[:2]
    before = model.read([first.name])[first.name]
    good = {first.name: np.ones(first.shape, np.float32)}
    with pytest.raises(ModelError, match=r"the adapter has no tensor elsewhere"):
        model.write(good | {"elsewhere": np.ones(1, np.float32)})
    with pytest.raises(ModelError, match=r"has shape \(1,\) where the model has"):
        model.write(good | {second.name: np.ones(1, np.float32)})
    np.testing.assert_array_equal(model.read([first.name])[first.name], before)
    with pytest.raises(ModelError, match=r"the adapter has no tensor"):
        model.read(["elsewhere"])


@pytest.mark.parametrize(("kind", "there"), [("llama", "q_proj"), ("gpt2", "c_attn")])
def test_unknown_target_modules_are_refused_with_those_that_exist(recipe, kind, there):
    with pytest.raises(ModelError, match=rf"no linear layer 'qproj': choose from .*{there}.* all-linear"):
        AdaptedModel.load(recipe(kind, lora={"target_modules": (there, "qproj")}))


def test_target_modules_choose_the_layers(recipe):
    model = AdaptedModel.load(recipe(lora={"target_modules": ("q_proj", "v_proj"), "rank": 2}))
    assert {name.split(".")[-3] for name in model.layout.names} == {"q_proj", "v_proj"}
    assert len(model.layout.tensors) == 8


def test_a_base_with_another_digest_is_refused(recipe):
    with pytest.raises(ModelError, match=r"where the recipe's model.digest is 0000.*: use the base model"):
        adapted_model(recipe(digest="0" * 64))


def test_a_base_with_the_agreed_digest_is_loaded(recipe, tiny_base):
    digest = digest_of(tiny_base())
    assert AdaptedModel.load(recipe(digest=digest)).base_digest == digest


def test_sites_of_one_process_share_one_model(recipe):
    shared = adapted_model(recipe())
    assert adapted_model(recipe()) is shared
    assert adapted_model(recipe(lora={"seed": 3})) is shared
    assert adapted_model(recipe(lora={"rank": 4})) is not shared
    assert adapted_model(recipe(compute_dtype="float32")) is not shared


def test_a_missing_tokenizer_is_refused(recipe, tiny_base, tmp_path):
    copy = shutil.copytree(tiny_base(), tmp_path / "copy")
    for path in copy.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match=r"no tokenizer that loads"):
        AdaptedModel.load(recipe(base=str(copy)))


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_last_layers_get_an_adapter_if_the_recipe_says_so(recipe, kind):
    every = AdaptedModel.load(recipe(kind)).layout
    last = AdaptedModel.load(recipe(kind, lora={"last_layers": 1})).layout
    assert set(last.names) < set(every.names)
    assert 2 * last.size == every.size  # of two equal layers
    assert all(".1." in name for name in last.names)


def test_more_layers_than_there_are_are_refused(recipe):
    with pytest.raises(ModelError, match=r"lora\.last_layers is 3, but the base model has 2 layers: lower it"):
        AdaptedModel.load(recipe(lora={"last_layers": 3}))
