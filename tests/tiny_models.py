"""Tiny random language models with a real tokenizer, for tests: no download, a fraction of a second each.

>>> make_tiny_model(Path("/tmp/tiny"), "qwen2")          # doctest: +SKIP
PosixPath('/tmp/tiny')

The directory holds what a base model's directory holds (config.json, model.safetensors, tokenizer.json, ...), so
`model.base` of a recipe can name it. Two layers of width 64 (NF4 quantises in blocks of 64), float32, a byte-level
BPE tokenizer of 384 tokens, and a ChatML template; `gemma` has a template that refuses a system message. The kinds in
`UNMASKED` do not leave padding out and are there to be refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

KINDS = ("llama", "gpt2", "qwen2", "gemma")
UNMASKED = ("rwkv", "recurrent_gemma")

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHATML_WITHOUT_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)
_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_CORPUS = [
    "The patient was seen in the clinic and the diagnosis was confirmed.",
    "Code this diagnosis: acute myocardial infarction of the anterior wall, unspecified.",
    "Describe code I21.4. Malignant neoplasm of the bronchus and lung, right side.",
    "system user assistant You are a medical coder. Pregnancy, childbirth and the puerperium.",
]


def make_tiny_model(directory: Path, kind: str = "llama", seed: int = 0) -> Path:
    """Saves a random model of `kind` (one of `KINDS` or `UNMASKED`) into `directory` and returns it.

    Equal arguments give equal weights. The global generator of torch is left as it was.
    """
    tokenizer = tiny_tokenizer(CHATML_WITHOUT_SYSTEM if kind == "gemma" else CHATML)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(_config(kind, tokenizer))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim == 2:  # far larger than the usual start, so that losses differ between inputs
                    parameter.normal_(std=0.5 if "emb" in name or "wte" in name else 0.2)
    model.to(torch.float32).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def tiny_tokenizer(chat_template: str | None = CHATML) -> Any:
    """A byte-level BPE tokenizer (any text round-trips) that ends a turn with `<|im_end|>`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        _CORPUS,
        trainers.BpeTrainer(
            vocab_size=384, special_tokens=_SPECIAL, initial_alphabet=sorted(alphabet), show_progress=False
        ),
    )
    marks = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=chat_template, **marks)


def _config(kind: str, tokenizer: Any) -> transformers.PretrainedConfig:
    tokens: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if kind == "gpt2":
        no_dropout = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
        return transformers.GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=512, **no_dropout, **tokens)
    if kind == "rwkv":
        return transformers.RwkvConfig(
            hidden_size=64, attention_hidden_size=64, num_hidden_layers=2, context_length=512, rescale_every=0, **tokens
        )
    decoder: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
    }
    if kind == "recurrent_gemma":
        return transformers.RecurrentGemmaConfig(
            lru_width=64, attention_window_size=32, **decoder | {"num_hidden_layers": 3}, **tokens
        )
    if kind == "gemma":
        return transformers.GemmaConfig(head_dim=16, **decoder, **tokens)
    configs = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config}
    return configs[kind](**decoder, **tokens)
