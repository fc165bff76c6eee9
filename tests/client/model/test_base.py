from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sealora_client.data.example import Example
from sealora_client.model import base, device
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.base import load_base
from sealora_client.model.loss import collate, response_losses
from sealora_common.errors import ModelError
from sealora_common.recipe.schema import Recipe
from sealora_common.recipe.sections.model import ModelSection

from tiny_models import make_tiny_model


def section(directory: Path, **fields):
    return ModelSection(base=str(directory), **{"quantization": "none", "compute_dtype": "float32"} | fields)


def adapted(directory: Path, **fields) -> AdaptedModel:
    model = AdaptedModel.load(Recipe(name="test", rounds=1, model=section(directory, **fields)))
    generator = np.random.default_rng(1)  # B is zero at the start, which would leave A without a gradient
    model.write({t.name: generator.normal(0, 0.1, t.shape).astype(np.float32) for t in model.layout.tensors})
    model.train_only(model.layout)
    return model


def gradient(model: AdaptedModel) -> torch.Tensor:
    examples = [Example(np.arange(3, 3 + length, dtype=np.int32), prompt_length=3) for length in (9, 21, 30)]
    model.model.train()
    model.model.zero_grad(set_to_none=True)
    response_losses(model.model, collate(examples, model.pad_id, model.device))[0].sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters_of(model.layout)])


def evaluate(model: AdaptedModel) -> None:
    model.model.eval()
    with torch.no_grad():
        model.model(input_ids=torch.arange(3, 11, device=model.device)[None])


def test_an_attention_that_the_model_has_not_is_said_with_what_to_do(tmp_path):
    directory = make_tiny_model(tmp_path / "rwkv", "rwkv")
    with pytest.raises(ModelError, match=r"rwkv has no sdpa attention: agree on model\.attention: eager$"):
        load_base(section(directory), directory)
    load_base(section(directory, attention="eager"), directory)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_every_parameter_of_the_base_is_frozen(tiny_base, quantization):
    model = load_base(section(tiny_base(), quantization=quantization), tiny_base())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_nf4_holds_linear_weights_in_four_bits(tiny_base):
    from bitsandbytes.nn import Linear4bit

    model = load_base(section(tiny_base(), quantization="nf4"), tiny_base())
    layer = model.model.layers[0].self_attn.q_proj
    assert isinstance(layer, Linear4bit)
    assert (layer.weight.quant_type, layer.weight.dtype) == ("nf4", torch.uint8)
    assert layer.weight.quant_state.nested  # double quantisation


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2", "gemma"])
def test_nf4_gradient_is_the_same_before_and_after_an_evaluation(tiny_base, kind):
    model = adapted(tiny_base(kind), quantization="nf4", compute_dtype="bfloat16")
    before = gradient(model)
    evaluate(model)
    assert torch.equal(gradient(model), before)


def test_without_the_guard_an_evaluation_would_spoil_nf4_gradients(tiny_base, monkeypatch):
    """Says when bitsandbytes has mended its kernel, so that the guard can go."""
    from bitsandbytes.functional import has_avx512bf16

    if not has_avx512bf16() or torch.cuda.is_available():
        pytest.skip("the kernel in question runs on CPUs with AVX512-BF16 only")
    true = gradient(adapted(tiny_base(), quantization="nf4", compute_dtype="bfloat16"))
    monkeypatch.setattr(base, "_keep_gradients_true", lambda model: None)
    model = adapted(tiny_base(), quantization="nf4", compute_dtype="bfloat16")
    evaluate(model)
    assert torch.cosine_similarity(gradient(model), true, dim=0) < 0.9


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_gradient_checkpointing_leaves_the_gradient_as_it_is(tiny_base, quantization):
    plain, checkpointed = (
        gradient(adapted(tiny_base(), quantization=quantization, gradient_checkpointing=asked))
        for asked in (False, True)
    )
    torch.testing.assert_close(checkpointed, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_on_a_cpu_without_kernels_for_bfloat16_the_same_weights_compute_in_float32(
    tiny_base, monkeypatch, quantization
):
    models = []
    for kernels in (True, False):
        monkeypatch.setattr(device, "_cpu_multiplies", lambda name, kernels=kernels: kernels or name == "float32")
        options = {"quantization": quantization, "compute_dtype": "bfloat16"}
        models.append(load_base(section(tiny_base(), **options), tiny_base()))
    half, single = models
    assert (half.lm_head.weight.dtype, single.lm_head.weight.dtype) == (torch.bfloat16, torch.float32)
    if quantization == "nf4":
        assert single.model.layers[0].self_attn.q_proj.compute_dtype == torch.float32
    tokens = torch.arange(3, 11)[None]
    logits, rounded = (model(input_ids=tokens).logits.float() for model in (single, half))
    assert torch.equal(half.lm_head.weight, single.lm_head.weight.bfloat16())
    assert torch.cosine_similarity(rounded.flatten(), logits.flatten(), dim=0) > 0.99


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("adapter", ["dora", "layer_norm", "full", "lora"])
def test_what_an_adapter_begins_with_is_the_same_on_a_cpu_without_kernels(
    tiny_base, monkeypatch, adapter, quantization
):
    if adapter == "full" and quantization == "nf4":
        pytest.skip("what is quantised is not trained whole")
    options = {"quantization": quantization, "compute_dtype": "bfloat16"}
    recipe = Recipe(name="test", rounds=1, adapter=adapter, model=section(tiny_base(), **options))
    layouts = []
    for kernels in (True, False):
        monkeypatch.setattr(device, "_cpu_multiplies", lambda name, kernels=kernels: kernels or name == "float32")
        layouts.append(AdaptedModel.load(recipe).layout)
    assert layouts[0] == layouts[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
def test_flash_attention_without_cuda_falls_back_to_sdpa_and_says_so(tiny_base, caplog):
    with caplog.at_level(logging.WARNING):
        model = load_base(section(tiny_base(), attention="flash_attention_2"), tiny_base())
    assert model.config._attn_implementation == "sdpa"
    assert "using sdpa" in caplog.text


@pytest.mark.parametrize(("name", "content"), [("model.safetensors", b"torn"), ("config.json", b"{torn")])
def test_a_damaged_model_is_refused_in_one_sentence(tiny_base, tmp_path, name, content):
    copy = shutil.copytree(tiny_base(), tmp_path / "copy")
    (copy / name).write_bytes(content)
    with pytest.raises(ModelError, match=r"cannot be loaded .*: check that its files are complete") as raised:
        load_base(section(copy), copy)
    assert "\n" not in str(raised.value)
