"""What a base model consists of: its digest covers every file that a loader may read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealora_client.model.base import load_base
from sealora_client.model.model_files import PICKLED, digest_of, files_of, is_left_out
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.model import ModelSection


def section(directory) -> ModelSection:
    return ModelSection(base=str(directory), quantization="none", compute_dtype="float32")


@pytest.fixture
def copy(tiny_base, tmp_path):
    return shutil.copytree(tiny_base(), tmp_path / "copy")


OF_THE_MODEL = (
    "generation_config.json",
    "chat_template.jinja",
    "additional_chat_templates/tool_use.jinja",
    "modeling_tiny.py",
    "tokenization.py",
    "processor_config.json",
    "tokenizer.model",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "added_tokens.json",
    "model-00002-of-00002.safetensors",
    "anything.else",
)


@pytest.mark.parametrize("name", OF_THE_MODEL)
def test_the_digest_covers(copy, name):
    before = digest_of(copy)
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_text("one")
    first = digest_of(copy)
    (copy / name).write_text("another")
    assert len({before, first, digest_of(copy)}) == 3


@pytest.mark.parametrize("name", ["README.md", "LICENSE.txt", ".gitattributes", "picture.png", "pytorch_model.bin"])
def test_the_digest_leaves_out_what_no_loader_reads(copy, name):
    before = digest_of(copy)
    (copy / name).write_text("anything")
    assert digest_of(copy) == before


@given(name=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_of_any_name_is_covered_or_is_one_of_the_named_exceptions(copy, name):
    path = copy / name
    if path.exists() or len(name.encode()) > 200:
        return
    before = digest_of(copy)
    try:
        path.write_text("x")
        assert (digest_of(copy) == before) == is_left_out(name)
    finally:
        path.unlink()


OPENED = """
import sys, os
seen = set()
sys.addaudithook(lambda event, args: seen.add(str(args[0])) if event == "open" else None)
from pathlib import Path
from sealora_client.model.base import load_base
from sealora_client.model.pretrained import load_tokenizer
from sealora_common.recipe.sections.model import ModelSection
directory = Path(sys.argv[1])
load_base(ModelSection(base=str(directory), quantization="none", compute_dtype="float32"), directory)
load_tokenizer(directory)
print("\\n".join(path for path in seen if path.startswith(str(directory) + os.sep)))
"""


@pytest.mark.slow
def test_every_file_that_a_loader_opens_is_covered(copy):
    """Read from the loaders themselves, with all that may lie in a directory in it."""
    (copy / "additional_chat_templates").mkdir()
    (copy / "additional_chat_templates" / "tool_use.jinja").write_text("{{ messages }}")
    for name in ("pytorch_model.bin", "model.pt", "README.md", "modeling_x.py", "custom.py"):
        (copy / name).write_text("raise SystemExit(3)")
    for name in ("processor_config.json", "preprocessor_config.json", "special_tokens_map.json"):
        (copy / name).write_text("{}")
    done = subprocess.run([sys.executable, "-c", OPENED, copy], capture_output=True, text=True, check=True, timeout=120)
    opened = set(done.stdout.split())
    assert str(copy / "additional_chat_templates" / "tool_use.jinja") in opened
    assert opened <= set(map(str, files_of(copy)))


@pytest.mark.parametrize("pattern", PICKLED)
def test_no_pickle_is_loaded_for_weights(copy, pattern):
    (copy / "model.safetensors").unlink()
    (copy / pattern.replace("*", "pytorch_model")).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(ModelError, match=r"has no \*\.safetensors file: .*pickled \.bin weights can run code"):
        load_base(section(copy), copy)


ELSEWHERE = {
    "outside": "../model.safetensors",
    "absolute": "/etc/model.safetensors",
    "a folder": "sub/model.safetensors",
    "a pickle": "pytorch_model.bin",
    "left out": "README.safetensors",
    "no name": 7,
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_weights_that_lie_elsewhere_are_refused(copy, case):
    index = copy / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": ELSEWHERE[case]}}))
    with pytest.raises(ModelError, match=r"index\.json: names weights that are no \*\.safetensors beside it"):
        digest_of(copy)


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, json.dumps({"weight_map": 1})])
def test_an_index_that_cannot_be_read_is_refused(copy, text):
    (copy / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ModelError, match="cannot be read as a list of weights"):
        digest_of(copy)


def test_an_adapter_is_no_base_model_since_it_leads_elsewhere(copy):
    (copy / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/elsewhere"}))
    with pytest.raises(ModelError, match="an adapter is no base model"):
        digest_of(copy)


def test_a_tokenizer_that_names_a_file_elsewhere_is_refused(copy, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    configuration = copy / "tokenizer_config.json"
    content = json.loads(configuration.read_text())
    configuration.write_text(json.dumps({**content, "tokenizer_file": str(tmp_path / "other.json")}))
    with pytest.raises(ModelError, match="tokenizer_file names a file on this machine"):
        digest_of(copy)
    configuration.write_text(json.dumps({**content, "tokenizer_file": "/where/it/was/once.json"}))
    assert digest_of(copy)


def test_what_is_neither_file_nor_folder_is_refused(copy):
    os.mkfifo(copy / "tokenizer.model")
    with pytest.raises(ModelError, match="neither a file nor a folder"):
        digest_of(copy)
    (copy / "tokenizer.model").unlink()
    (copy / "tokenizer.model").symlink_to("nowhere")
    with pytest.raises(ModelError, match=r"cannot be read \(No such file"):
        digest_of(copy)


def test_a_hub_s_cache_of_links_has_the_digest_of_its_files(copy, tmp_path):
    linked = tmp_path / "snapshot"
    linked.mkdir()
    for path in copy.iterdir():
        (linked / path.name).symlink_to(path)
    assert digest_of(linked) == digest_of(copy)


def test_digest_notices_a_changed_file_in_the_same_process(tiny_base, tmp_path):
    copy = shutil.copytree(tiny_base(), tmp_path / "copy")
    before = digest_of(copy)
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))
    assert digest_of(copy) != before


def test_digest_does_not_depend_on_where_the_model_lies(tiny_base, tmp_path):
    other = shutil.copytree(tiny_base(), tmp_path / "zzz" / "elsewhere")
    assert digest_of(other) == digest_of(tiny_base())


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [("config.json", "has no config.json"), ("model.safetensors", r"has no \*.safetensors")],
)
def test_a_directory_without_a_model_is_refused(tiny_base, tmp_path, missing, sentence):
    copy = shutil.copytree(tiny_base(), tmp_path / "copy")
    (copy / missing).unlink()
    for use in (digest_of, lambda directory: load_base(section(directory), directory)):
        with pytest.raises(ModelError, match=sentence):
            use(copy)


def test_a_missing_directory_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"does not exist: check model.base"):
        digest_of(tmp_path / "nowhere")
