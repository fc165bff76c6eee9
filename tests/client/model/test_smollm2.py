from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sealora_client.model import smollm2 as module
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.generate import complete
from sealora_client.model.model_files import digest_of
from sealora_client.model.smollm2 import CATALOGUE_NAME, download, smollm2
from sealora_common.errors import ModelError, StorageError
from sealora_common.recipe.schema import Recipe
from sealora_common.recipe.sections.data import DataSection
from sealora_common.recipe.sections.model import ModelSection

DIGEST = "3cb16758850d0c84cbf284e0319df2bc666e5b7b0720e0d2ef0d34476c02082b"
"""Of the converted directory, on every machine: sites that convert for themselves must agree on it."""


def fake_build(monkeypatch, convert=lambda wheel, directory: Path(directory).mkdir()):
    monkeypatch.setattr(module, "download", lambda scratch: scratch / "a.whl")
    monkeypatch.setattr(module, "convert", convert)


def pip_that(monkeypatch, *, writes: bytes | None = None, returncode: int = 0, stderr: str = ""):
    def run(command, **_):
        if writes is not None:
            Path(command[command.index("--dest") + 1], "a.whl").write_bytes(writes)
        return subprocess.CompletedProcess(command, returncode, "", stderr)

    monkeypatch.setattr(module.subprocess, "run", run)


def test_what_is_built_is_used_again(monkeypatch, tmp_path):
    fake_build(monkeypatch)
    directory = smollm2(tmp_path / "cache")
    fake_build(monkeypatch, convert=lambda *_: pytest.fail("built twice"))
    assert smollm2(tmp_path / "cache") == directory == tmp_path / "cache" / CATALOGUE_NAME


def test_an_interrupted_build_leaves_nothing_half_made(monkeypatch, tmp_path):
    def interrupted(wheel: Path, directory: Path) -> None:
        directory.mkdir()
        (directory / "config.json").write_text("{}")
        raise KeyboardInterrupt

    fake_build(monkeypatch, interrupted)
    with pytest.raises(KeyboardInterrupt):
        smollm2(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f".{CATALOGUE_NAME}.lock"]


def test_the_slower_of_two_builders_keeps_what_the_faster_one_made(monkeypatch, tmp_path):
    def overtaken(wheel: Path, directory: Path) -> None:
        for built, maker in ((directory, "slow"), (tmp_path / CATALOGUE_NAME, "fast")):
            built.mkdir()
            (built / "maker").write_text(maker)

    fake_build(monkeypatch, overtaken)
    assert (smollm2(tmp_path) / "maker").read_text() == "fast"


def test_processes_that_race_build_once(tmp_path):
    script = (
        "import sys, time, pathlib\n"
        "from sealora_client.model import smollm2 as module\n"
        "cache = pathlib.Path(sys.argv[1])\n"
        "def convert(wheel, directory):\n"
        "    (cache / f'build-{time.monotonic_ns()}').touch()\n"
        "    time.sleep(0.5)\n"
        "    directory.mkdir()\n"
        "module.download, module.convert = (lambda scratch: scratch), convert\n"
        "print(module.smollm2(cache))\n"
    )
    racers = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(3)]
    answers = {racer.communicate(timeout=60)[0].strip() for racer in racers}
    assert answers == {str(tmp_path / CATALOGUE_NAME).encode()}
    assert len(list(tmp_path.glob("build-*"))) == 1


def test_a_package_with_another_content_is_refused(monkeypatch, tmp_path):
    pip_that(monkeypatch, writes=b"not the model")
    with pytest.raises(ModelError, match=r"has SHA-256 .* is pinned: do not use it"):
        download(tmp_path)


def test_a_failed_download_says_what_pip_said_and_what_to_do(monkeypatch, tmp_path):
    pip_that(monkeypatch, returncode=1, stderr="WARNING: retrying\nERROR: No matching distribution\n")
    with pytest.raises(ModelError, match=r"pip: ERROR: No matching distribution.*set model.base to a local directory"):
        download(tmp_path)


def test_a_download_that_hangs_is_given_up(monkeypatch, tmp_path):
    def run(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(module.subprocess, "run", run)
    with pytest.raises(ModelError, match=r"took longer than 900 s"):
        download(tmp_path)


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write"):
        smollm2(tmp_path / "file" / "cache")


@pytest.mark.slow
def test_the_real_model_converts_to_the_known_files_and_answers_sensibly(tmp_path, monkeypatch):
    monkeypatch.setenv("SEALORA_CACHE", str(tmp_path))
    assert digest_of(smollm2(tmp_path)) == DIGEST
    section = ModelSection(base=CATALOGUE_NAME, quantization="none", digest=DIGEST)
    model = AdaptedModel.load(Recipe(name="test", rounds=1, model=section))
    assert "Paris" in complete(model, ["What is the capital of France?"], DataSection())[0]
    shutil.rmtree(tmp_path / CATALOGUE_NAME)
