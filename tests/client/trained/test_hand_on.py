"""What is handed on opens with plain PEFT and plain transformers, offline, and answers as `sealora-site chat` does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from quick_cases import quick_cases
from sealora_client.model import device
from sealora_client.model.adapted import AdaptedModel
from sealora_client.trained.answers import Answers
from sealora_client.trained.hand_on import HandOn, hand_on
from sealora_client.trained.trained_adapter import ToldOfRun, TrainedAdapter
from sealora_common.adapter import adapter_kind
from sealora_common.errors import ModelError, PolicyError, StorageError

from adapter_kinds import FEW, KINDS, ON_ONE_BASE, made_up_adapter
from single_examples import recipe_for

PROMPTS = ["What is 3?", "Give the code for: fever"]
SYSTEM = "You code diagnoses."


def trained_on(base: Path, **sections: object) -> TrainedAdapter:
    recipe = recipe_for(base, **{"data": {"system_prompt": SYSTEM, "max_tokens": 64}, **sections})
    model = AdaptedModel.load(recipe)
    kind, made_up = adapter_kind(recipe), made_up_adapter(model, recipe, std=0.3)
    trained = {name: made_up[name] for name in kind.shared(model.layout).names}  # the rest stays as it began
    return TrainedAdapter(recipe, kind.initial(model.layout) | trained, ToldOfRun(run="ab" * 16, rounds=2))


def plain_answers(model: torch.nn.Module, directory: Path) -> list[str]:
    """As the card says it is done."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    answers = []
    for prompt in PROMPTS:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(**inputs, max_new_tokens=12, do_sample=False)
        answers.append(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip())
    return answers


@pytest.mark.parametrize(("kind", "base"), FEW)
def test_every_kind_opens_with_plain_peft_and_answers_alike(tiny_base, tmp_path, monkeypatch, kind, base):
    trained = trained_on(tiny_base(base), **KINDS[kind])
    here = Answers(trained).to(PROMPTS, most_tokens=12)
    hand_on(trained, HandOn(tmp_path / "out"))
    monkeypatch.chdir(tiny_base(base).parent)  # the base model at hand, under its portable name
    model = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "out")
    assert plain_answers(model, tmp_path / "out") == here


@pytest.mark.parametrize(
    ("kind", "base"),
    quick_cases([case for case in ON_ONE_BASE if case[0] != "prompt_tuning"], ("dora", "llama"), ("bias", "qwen2")),
)
def test_every_kind_that_changes_weights_merges_into_a_model_that_answers_alike(tiny_base, tmp_path, kind, base):
    trained = trained_on(tiny_base(base), **KINDS[kind])
    here = Answers(trained).to(PROMPTS, most_tokens=12)
    hand_on(trained, HandOn(tmp_path / "out", form="merged"))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert plain_answers(model, tmp_path / "out") == here
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    names = set(load_file(tmp_path / "out" / "model.safetensors"))
    assert not {name for name in names if "lora" in name or "base_layer" in name}


def test_what_is_merged_is_of_the_agreed_type_whatever_the_cpu_has(tiny_base, tmp_path, monkeypatch):
    trained = trained_on(tiny_base(), model={"compute_dtype": "bfloat16"})
    monkeypatch.setattr(device, "_cpu_multiplies", lambda name: name == "float32")
    hand_on(trained, HandOn(tmp_path / "out", form="merged"))
    assert {value.dtype for value in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}


def test_an_adapter_that_is_no_change_of_weights_is_not_merged(tiny_base, tmp_path):
    trained = trained_on(tiny_base(), **KINDS["prompt_tuning"])
    with pytest.raises(
        ModelError, match=r"prompt_tuning is text before the prompt .*: export it as PEFT.s files, without"
    ):
        hand_on(trained, HandOn(tmp_path / "out", form="merged"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_merged_model_opens_in_a_process_that_knows_no_network_and_no_peft(tiny_base, tmp_path):
    trained = trained_on(tiny_base())
    hand_on(trained, HandOn(tmp_path / "out", form="merged"))
    code = (
        "import sys; sys.modules['peft'] = None\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        f"AutoModelForCausalLM.from_pretrained({str(tmp_path / 'out')!r})\n"
        f"print(AutoTokenizer.from_pretrained({str(tmp_path / 'out')!r}).chat_template is not None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "https_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stdout.strip() == "True"


def test_the_card_says_what_ran_and_no_path_of_this_machine_is_in_what_is_handed_on(tiny_base, tmp_path):
    privacy = {"mechanism": "local", "epsilon": 3.0, "delta": 1e-4}
    trained = trained_on(tiny_base(), privacy=privacy)
    base = tiny_base()
    hand_on(trained, HandOn(tmp_path / "out", licence="apache-2.0"))
    card = (tmp_path / "out" / "README.md").read_text()
    fields = yaml.safe_load(card.split("---\n")[1])
    assert (fields["base_model"], fields["license"], fields["library_name"]) == (base.name, "apache-2.0", "peft")
    assert "differential-privacy" in fields["tags"]
    for said in ("at most 3, over all rounds", "1e-4", "Unit: one record", trained.digest, SYSTEM):
        assert said in card
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"] == base.name
    for file in (tmp_path / "out").iterdir():
        assert str(base.parent).encode() not in file.read_bytes(), file
        assert file.stat().st_mode & 0o077 == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} >= {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_a_licence_beside_the_base_model_goes_with_it(tiny_base, tmp_path):
    base = tmp_path / "base"
    subprocess.run(["cp", "-r", str(tiny_base()), str(base)], check=True)
    (base / "LICENSE").write_text("Use it well.")
    hand_on(trained_on(base), HandOn(tmp_path / "out"))
    assert (tmp_path / "out" / "LICENSE").read_text() == "Use it well."


@pytest.mark.parametrize("kind", ["file", "full"])
def test_what_is_there_is_never_replaced(tiny_base, tmp_path, kind):
    out = tmp_path / "out"
    if kind == "full":
        out.mkdir()
        (out / "thesis").write_text("years of work")
    else:
        out.write_text("years of work")
    with pytest.raises(PolicyError, match="is there already: choose another --out"):
        hand_on(trained_on(tiny_base()), HandOn(out))
    assert (out / "thesis" if kind == "full" else out).read_text() == "years of work"


def test_an_export_that_cannot_be_finished_leaves_nothing(tiny_base, tmp_path, monkeypatch):
    trained = trained_on(tiny_base())

    def full(*arguments, mode):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sealora_client.trained.hand_on.settle_file", full)
    with pytest.raises(StorageError, match="the disk is full"):
        hand_on(trained, HandOn(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_another_base_model_than_the_recipe_s_is_refused(tiny_base, tmp_path):
    trained = trained_on(tiny_base())
    model = trained.recipe.model.model_copy(update={"digest": "0" * 64})
    other = TrainedAdapter(trained.recipe.model_copy(update={"model": model}), trained.tensors, trained.told)
    with pytest.raises(ModelError, match="is not the one that the recipe names"):
        hand_on(other, HandOn(tmp_path / "out"))
    with pytest.raises(ModelError, match=r"where the recipe's model.digest is 0000"):
        Answers(other)


def test_a_base_model_that_is_not_here_is_not_fetched(tiny_base, tmp_path):
    trained = trained_on(tiny_base())
    model = trained.recipe.model.model_copy(update={"base": "nobody/nothing"})
    other = TrainedAdapter(trained.recipe.model_copy(update={"model": model}), trained.tensors, trained.told)
    with pytest.raises(ModelError, match="nobody/nothing is not on this machine: fetch it with"):
        Answers(other)


def test_drawn_answers_are_equal_for_equal_seeds_and_differ_for_others(tiny_base):
    answers = Answers(trained_on(tiny_base()))
    ask = PROMPTS[:1]
    first = answers.to(ask, most_tokens=12, temperature=2.0, seed=1)
    assert answers.to(ask, most_tokens=12, temperature=2.0, seed=1) == first
    assert answers.to(ask, most_tokens=12, temperature=2.0, seed=2) != first
