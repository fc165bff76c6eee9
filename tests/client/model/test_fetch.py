from __future__ import annotations

import time
from pathlib import Path

import httpx
import huggingface_hub
import pytest
from huggingface_hub import errors
from huggingface_hub.utils import filter_repo_objects

from sealora_client.model import fetch
from sealora_client.model.fetch import cache_root, locate_base
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.model import ModelSection


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Puts `hub.answer` (a path, or an error to raise) in the place of the hub; `hub.asked` holds the calls."""

    class Hub:
        def __init__(self) -> None:
            self.asked: list[tuple[str, dict]] = []
            self.answer: object = tmp_path

    hub = Hub()

    def snapshot_download(name, **options):
        hub.asked.append((name, options))
        if isinstance(hub.answer, Exception):
            raise hub.answer
        return str(hub.answer)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    fetch._from_hub.cache_clear()
    yield hub
    fetch._from_hub.cache_clear()


def response(status: int) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "https://hub.invalid"))


def test_a_local_directory_is_taken_as_it_is(tmp_path, hub):
    assert locate_base(ModelSection(base=str(tmp_path))) == tmp_path
    assert not hub.asked


def test_a_hub_id_is_fetched_at_its_revision_and_asked_for_once(tmp_path, hub):
    for _ in range(2):
        assert locate_base(ModelSection(base="owner/name", revision="abc")) == tmp_path
    ((name, options),) = hub.asked
    assert (name, options["revision"]) == ("owner/name", "abc")
    named = ["config.json", "model.safetensors", "additional_chat_templates/a.jinja", "modeling.py", "spiece.model"]
    left = ["pytorch_model.bin", "README.md", "onnx/model.json", "original/params.json", "picture.png"]
    fetched = filter_repo_objects([*named, *left], ignore_patterns=options["ignore_patterns"])
    assert list(fetched) == named  # what the digest is over, so that fetched and copied models have the same


def test_the_catalogue_name_goes_to_its_own_builder(monkeypatch, tmp_path):
    monkeypatch.setenv("SEALORA_CACHE", str(tmp_path))
    monkeypatch.setattr(fetch, "smollm2", lambda cache: cache / "built")
    assert locate_base(ModelSection(base="smollm2-135m-instruct")) == tmp_path / "built"


@pytest.mark.parametrize("base", ["./x", "../a/b", "/x", "/x/y", "~/x", "gpt2", "a/b/c", "owner/", "C:\\models/x"])
def test_what_looks_like_a_path_never_goes_to_the_network(base, hub):
    with pytest.raises(ModelError, match=r"there is no directory .*: give a local directory"):
        locate_base(ModelSection(base=base))
    assert not hub.asked


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errors.RepositoryNotFoundError("no", response=response(404)), "check the spelling or run hf auth login"),
        (errors.GatedRepoError("no", response=response(403)), "accept them on its page"),
        (errors.RevisionNotFoundError("no", response=response(404)), "no revision 'abc'.*check model.revision"),
        (errors.HFValidationError("no"), "no valid Hugging Face id"),
        (errors.LocalEntryNotFoundError("An error happened.\nSecond line"), "An error happened.*check the network"),
        (OSError("Connection refused"), "Connection refused.*check the network"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_failure_of_the_hub_is_one_sentence_with_a_remedy(hub, error, sentence):
    hub.answer = error
    with pytest.raises(ModelError, match=sentence) as raised:
        locate_base(ModelSection(base="owner/name", revision="abc"))
    assert str(raised.value).endswith("or give a local directory")
    assert "\n" not in str(raised.value)


def test_without_a_network_the_sentence_comes_within_seconds(monkeypatch, tmp_path):
    monkeypatch.setenv("SEALORA_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"check the network"):
        locate_base(ModelSection(base="owner/not-cached"))
    assert time.monotonic() - started < 10


def test_the_cache_is_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SEALORA_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("SEALORA_CACHE")
    assert cache_root() == Path(fetch.platformdirs.user_cache_dir("sealora"))
