"""What is written as ONNX gives the merged model's logits, by ONNX's own reference evaluator, and says nothing more."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from kept_run import write_kept_run
from onnx.reference import ReferenceEvaluator
from transformers import AutoModelForCausalLM, AutoTokenizer

from sealora_client.cli import cli
from sealora_client.trained.answers import Answers
from sealora_client.trained.hand_on import HandOn, hand_on
from sealora_client.trained.onnx_form import ONNX_MODEL
from sealora_client.trained.trained_adapter import find_trained
from sealora_common.errors import ModelError, PolicyError

from adapter_kinds import KINDS
from tiny_federation import typed

SYSTEM = "You code diagnoses."
PROMPT = "What is 3?"


@pytest.fixture(scope="module")
def kept(tiny_base, tmp_path_factory) -> Path:
    data = {"system_prompt": SYSTEM, "max_tokens": 64}
    return write_kept_run(tmp_path_factory.mktemp("kept") / "run", tiny_base(), data=data)


@pytest.fixture(scope="module")
def written(kept, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "out"
    said = typed(cli, "export", kept, "--onnx", "--out", out)
    assert f"{out}: a whole model for ONNX's runtimes" in said
    return out


def test_logits_are_those_of_the_merged_model_for_any_batch_and_length(kept, written, tmp_path):
    hand_on(find_trained(str(kept), Path()), HandOn(tmp_path / "merged", form="merged"))
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    evaluator = ReferenceEvaluator(str(written / ONNX_MODEL))
    generator = np.random.default_rng(0)
    for batch, tokens, padded in ((2, 7, 3), (1, 1, 0), (3, 40, 20)):
        ids = generator.integers(0, 300, (batch, tokens))
        mask = np.ones_like(ids)
        mask[0, :padded] = 0
        with torch.no_grad():
            wanted = merged(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).logits.numpy()
        (found,) = evaluator.run(None, {"input_ids": ids, "attention_mask": mask})
        assert np.abs(found - wanted)[mask == 1].max() < 1e-4 < np.abs(wanted).max()


def test_its_likeliest_words_are_those_of_chat(kept, written):
    tokenizer = AutoTokenizer.from_pretrained(written)
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
    given = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="np", return_dict=True)
    evaluator = ReferenceEvaluator(str(written / ONNX_MODEL))
    ids = given["input_ids"]
    for _ in range(6):
        (logits,) = evaluator.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        ids = np.concatenate([ids, logits[:, -1:].argmax(-1)], axis=1)
    answer = tokenizer.decode(ids[0, given["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    assert [answer] == Answers(find_trained(str(kept), Path())).to([PROMPT], most_tokens=6)


def test_it_is_sound_and_tells_nothing_of_this_machine(written, tiny_base):
    onnx.checker.check_model(str(written / ONNX_MODEL))
    for file in written.iterdir():
        content = file.read_bytes()
        for private in (str(tiny_base().parent), "site-packages", "modeling_", str(Path(__file__).parents[3])):
            assert private.encode() not in content, (file, private)
        assert file.stat().st_mode & 0o077 == 0
    fields = yaml.safe_load((written / "README.md").read_text().split("---\n")[1])
    assert (fields["library_name"], fields["base_model_relation"]) == ("onnx", "merge")
    assert "onnxruntime.InferenceSession" in (written / "README.md").read_text()
    assert "_name_or_path" not in json.loads((written / "config.json").read_text())


def test_what_cannot_be_written_so_is_one_sentence_and_leaves_nothing(tiny_base, kept, tmp_path, monkeypatch):
    tuned = write_kept_run(tmp_path / "tuned", tiny_base(), **KINDS["prompt_tuning"])
    with pytest.raises(ModelError, match="without --merged or --onnx"):
        typed(cli, "export", tuned, "--onnx", "--out", tmp_path / "out")
    with pytest.raises(PolicyError, match="two forms of the model: ask for one"):
        typed(cli, "export", kept, "--onnx", "--merged", "--out", tmp_path / "out")

    def untraceable(*arguments, **options):
        raise RuntimeError("data-dependent\nexpression")

    with monkeypatch.context() as patched:
        patched.setattr(torch.onnx, "export", untraceable)
        with pytest.raises(ModelError, match=r"\(llama\) cannot be written as ONNX \(RuntimeError\): export it with"):
            typed(cli, "export", kept, "--onnx", "--out", tmp_path / "out")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "sealora_client.trained.onnx_form.find_spec", lambda name: None if name == "onnxscript" else found(name)
    )
    with pytest.raises(ModelError, match=r'pip install "sealora\[onnx\]"'):
        typed(cli, "export", kept, "--onnx", "--out", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["tuned"]
