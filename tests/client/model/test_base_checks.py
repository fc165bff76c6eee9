"""Bases whose files load and whose training would be for nothing, each told with what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from sealora_client.model import device
from sealora_client.model.base import load_base
from sealora_client.model.base_checks.files import check_quantization, check_weights
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.model import ModelSection


def section(base: Path, **changes: Any) -> ModelSection:
    return ModelSection(**{"base": str(base), "quantization": "none", "compute_dtype": "float32", **changes})


@pytest.fixture
def base(tiny_base: Callable[..., Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base(), tmp_path / "base"))


def declare(base: Path, own: dict[str, Any]) -> None:
    path = base / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": own}))


NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
OTHERWISE = {
    "FP4": (NF4 | {"bnb_4bit_quant_type": "fp4", "bnb_4bit_compute_dtype": "float32"}, "fp4 doubly in float32"),
    "once": (NF4 | {"bnb_4bit_use_double_quant": False, "bnb_4bit_compute_dtype": "float32"}, "nf4 in float32"),
    "another dtype": (NF4 | {"bnb_4bit_compute_dtype": "float16"}, "nf4 doubly in float16"),
    "int8": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
    "GPTQ": ({"quant_method": "gptq", "bits": 4}, "gptq"),
    "unknown": ({"bits": 3}, "by a method of its own"),
}


@pytest.mark.parametrize("quantization", ["nf4", "none"])
@pytest.mark.parametrize("case", OTHERWISE)
def test_a_base_that_is_quantised_otherwise_is_refused_by_how(base, case, quantization):
    own, named = OTHERWISE[case]
    declare(base, own)
    with pytest.raises(ModelError) as raised:
        load_base(section(base, quantization=quantization), base)
    assert f"the base model in {base} is quantised already ({named}), which would go before the recipe's" in str(
        raised.value
    )
    assert f"model.quantization {quantization} in float32: use the model as it was before that" in str(raised.value)


def test_a_configuration_with_an_infinity_in_it_hides_no_quantisation(base):
    declare(base, NF4 | {"bnb_4bit_quant_type": "fp4"})
    path = base / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"time_step_limit": [0.0, float("inf")]}))
    with pytest.raises(ModelError, match="is quantised already"):
        check_quantization(section(base), base)


def test_a_base_that_is_quantised_as_agreed_or_not_at_all_passes(base):
    check_quantization(section(base, quantization="nf4"), base)
    declare(base, NF4 | {"bnb_4bit_compute_dtype": "float32"})
    check_quantization(section(base, quantization="nf4"), base)
    with pytest.raises(ModelError, match=r"quantised already \(nf4 doubly in float32\)"):
        check_quantization(section(base, quantization="none"), base)


def test_a_base_that_was_really_saved_in_fp4_is_refused(tiny_base, tmp_path):
    options = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="fp4", bnb_4bit_compute_dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(tiny_base(), quantization_config=options, local_files_only=True)
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"is quantised already \(fp4"):
        load_base(section(tmp_path, quantization="nf4"), tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
def test_a_base_that_was_saved_in_nf4_computes_in_its_own_type_whatever_the_cpu_has(tiny_base, tmp_path, monkeypatch):
    options = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    saved = AutoModelForCausalLM.from_pretrained(
        tiny_base(), quantization_config=options, dtype=torch.bfloat16, local_files_only=True
    )
    saved.save_pretrained(tmp_path)
    monkeypatch.setattr(device, "_cpu_multiplies", lambda name: name == "float32")
    model = load_base(section(tmp_path, quantization="nf4", compute_dtype="bfloat16"), tmp_path)
    assert model.model.layers[0].self_attn.q_proj.compute_dtype == torch.bfloat16
    assert {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()} == {torch.bfloat16}


@pytest.mark.parametrize("quantization", ["nf4", "none"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_no_number_is_named(base, value, quantization):
    path = base / "model.safetensors"
    weights = load_file(path)
    name = "model.layers.1.mlp.up_proj.weight"
    weights[name].view(-1)[77] = value
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(ModelError, match=rf"{path}: the weight {name} holds values that are no finite numbers: fetch"):
        load_base(section(base, quantization=quantization), base)


def test_large_weights_whose_sum_overflows_and_whole_numbers_are_sound(tmp_path):
    most = torch.finfo(torch.float32).max
    tensors = {"a": torch.full((8,), most), "b": torch.full((3,), 60000.0, dtype=torch.float16), "c": torch.arange(3)}
    save_file(tensors, tmp_path / "model.safetensors")
    check_weights(tmp_path)
