"""No code of a model runs, whoever is asked at which terminal."""

from __future__ import annotations

import ast
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from sealora_client.model.base import load_base
from sealora_client.model.pretrained import load_tokenizer
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.model import ModelSection

PACKAGE = Path(__file__).parents[3] / "client" / "sealora_client"
CODE = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n"


def section(directory) -> ModelSection:
    return ModelSection(base=str(directory), quantization="none", compute_dtype="float32")


@pytest.fixture
def with_code(tiny_base, tmp_path):
    """A model that only its own code can load."""
    copy = shutil.copytree(tiny_base(), tmp_path / "copy")
    (copy / "modeling_own.py").write_text(f"{CODE}class OwnModel: ...\nclass OwnConfig: ...\nclass OwnTokenizer: ...\n")
    config = json.loads((copy / "config.json").read_text())
    config["model_type"] = "own"
    config["auto_map"] = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnModel"}
    (copy / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((copy / "tokenizer_config.json").read_text())
    tokenizer["tokenizer_class"] = "OwnTokenizer"
    tokenizer["auto_map"] = {"AutoTokenizer": ["modeling_own.OwnTokenizer", None]}
    (copy / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return copy


def test_a_model_that_needs_code_of_its_own_is_refused_in_one_sentence(with_code):
    with pytest.raises(ModelError, match=r"^the base model in .* needs code of its own .*: use a model that") as raised:
        load_base(section(with_code), with_code)
    assert "\n" not in str(raised.value)
    assert not (with_code / "ran").exists()


def test_a_tokenizer_s_code_does_not_run(with_code):
    try:
        load_tokenizer(with_code)
    except ModelError as error:
        assert "needs code of its own" in str(error)  # noqa: PT017 (a tokenizer that loads without it will do as well)
    assert not (with_code / "ran").exists()


@pytest.mark.slow
def test_nobody_is_asked_at_a_terminal(with_code):
    """At a terminal on which a `y` waits, the code would run if the loader asked."""
    program = (
        "from pathlib import Path; from sealora_client.model.base import load_base; import sys\n"
        "from sealora_common.recipe.sections.model import ModelSection\n"
        "d = Path(sys.argv[1])\n"
        "try: load_base(ModelSection(base=str(d), quantization='none', compute_dtype='float32'), d)\n"
        "except Exception as e: print('said:', e)\n"
    )
    leader, follower = pty.openpty()
    os.write(leader, b"y\ny\ny\n")
    done = subprocess.run(
        [sys.executable, "-c", program, with_code],
        stdin=follower,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    os.close(leader)
    os.close(follower)
    assert "needs code of its own" in done.stdout
    assert "[y/N]" not in done.stdout + done.stderr
    assert not (with_code / "ran").exists()


def test_no_other_place_reads_a_model():
    """Nothing but `pretrained` calls `from_pretrained`, imports the Auto classes, or reads a pickle of others."""
    around = []
    for path in sorted(PACKAGE.parents[1].rglob("sealora_*/**/*.py")):
        if path == PACKAGE / "model" / "pretrained.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                of = node.value.id if isinstance(node.value, ast.Name) else ""
                if node.attr in ("from_pretrained", "pipeline") or (of, node.attr) in READS:
                    around.append(f"{path.name}: {of}.{node.attr}")
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            around += [
                f"{path.name}: {name}" for name in names if name.startswith("Auto") or name in ("pickle", "dill")
            ]
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                around.append(f"{path.name}: trust_remote_code")
    # What a site puts aside itself, in a file that has no name; and what its process and its own workers say to each
    # other, in pipes that nobody else has an end of.
    assert around == ["spool.py: pickle", "channel.py: pickle"]


READS = {("torch", "load"), ("np", "load"), ("joblib", "load"), ("hub", "load")}


def test_the_one_place_says_no_and_leaves_nothing_to_be_asked():
    tree = ast.parse((PACKAGE / "model" / "pretrained.py").read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "attr", "") == "from_pretrained"]
    # An adapter's files name no code: PEFT is handed the model that they go onto.
    adapters = [call for call in calls if ast.unparse(call.func) == "PeftModel.from_pretrained"]
    assert [ast.unparse(call.args[0]) for call in adapters] == ["model"]
    models = [call for call in calls if call not in adapters]
    assert models
    for call in models:
        said = {keyword.arg: keyword.value for keyword in call.keywords}
        assert isinstance(said["trust_remote_code"], ast.Constant)
        assert said["trust_remote_code"].value is False


def test_a_model_that_was_saved_as_a_classifier_is_refused_as_its_output_layer_would_be_drawn_at_random(
    tiny_base, tmp_path
):
    config = transformers.AutoConfig.from_pretrained(tiny_base())
    config.tie_word_embeddings = False
    with torch.random.fork_rng(devices=[]):
        transformers.LlamaForSequenceClassification(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"lacks weights of a causal language model \(lm_head\.weight\), as one"):
        load_base(section(tmp_path), tmp_path)
    config.tie_word_embeddings = True  # then there is no output layer of its own to lack
    transformers.LlamaForSequenceClassification(config).save_pretrained(tmp_path / "tied")
    load_base(section(tmp_path / "tied"), tmp_path / "tied")
