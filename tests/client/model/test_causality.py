"""Encoders and encoder-decoders are refused by what they do, and causal models of every family are not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from sealora_client.model.base import load_base
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.model import ModelSection

from tiny_models import KINDS, make_tiny_model, tiny_tokenizer

SIZES = {"vocab_size": 384, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
ENCODERS = {
    "bert": transformers.BertConfig(**SIZES, intermediate_size=64),
    "roberta": transformers.RobertaConfig(**SIZES, intermediate_size=64, pad_token_id=0),
    "electra": transformers.ElectraConfig(**SIZES, intermediate_size=64, embedding_size=64),
}
CAUSAL = {
    "a decoder of BERT's kind": transformers.BertConfig(**SIZES, intermediate_size=64, is_decoder=True),
    "a mixture of experts": transformers.MixtralConfig(
        **SIZES, intermediate_size=64, num_key_value_heads=2, num_local_experts=4
    ),
    "mamba": transformers.MambaConfig(vocab_size=384, hidden_size=64, num_hidden_layers=2, state_size=4),
    "a sliding window": transformers.MistralConfig(
        **SIZES, intermediate_size=64, num_key_value_heads=2, sliding_window=3
    ),
}


def saved(directory: Path, config: transformers.PretrainedConfig) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 2:
                    parameter.normal_(std=0.2)
    model.to(torch.float32).save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    return directory


def load(directory: Path, **options: str) -> None:
    load_base(
        ModelSection.model_validate(
            {"base": str(directory), "quantization": "none", "compute_dtype": "float32", **options}
        ),
        directory,
    )


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_that_loads_as_if_it_were_causal_is_refused(tmp_path, name):
    with pytest.raises(ModelError, match=r"reads tokens that come after the one it predicts.*causal \(decoder-only\)"):
        load(saved(tmp_path, ENCODERS[name]), attention="eager")


def test_so_is_one_that_attends_to_little_yet(tmp_path):
    """As its configuration begins it: what comes after changes a prediction by half a per cent."""
    config = transformers.BertConfig(**SIZES | {"num_attention_heads": 4}, intermediate_size=128)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="reads tokens that come after the one it predicts"):
        load(tmp_path, attention="eager")


@pytest.mark.parametrize("name", CAUSAL)
def test_causal_models_of_other_kinds_are_not(tmp_path, name):
    load(saved(tmp_path, CAUSAL[name]), attention="eager")


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_nor_are_those_of_common_families_in_any_precision(tmp_path, kind, compute_dtype, quantization):
    load(make_tiny_model(tmp_path, kind), quantization=quantization, compute_dtype=compute_dtype)


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_an_encoder_with_a_decoder_is_refused_by_its_configuration(tmp_path, kind):
    config = {
        "t5": transformers.T5Config(vocab_size=384, d_model=64, d_ff=64, num_layers=2, num_heads=2),
        "bart": transformers.BartConfig(vocab_size=384, d_model=64, encoder_layers=1, decoder_layers=1),
    }[kind]
    model = transformers.AutoModelForSeq2SeqLM.from_config(config)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is an encoder with a decoder, as T5 is: use a causal"):
        load(tmp_path)
