"""Which files a base model consists of, and their digest."""

from __future__ import annotations

import functools
import hashlib
import json
import stat
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sealora_common.config import LINE, json_value, read_file
from sealora_common.errors import ModelError, UnreadableError

VERSION = "sealora model 2"
"""Begins what the digest is over. Version 1 covered weights, configuration and tokenizer by name, and no code."""
TEMPLATES = "additional_chat_templates"
"""The one folder in a model's directory that is read."""
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack", "*.onnx", "*.ot", "*.gguf", "*.npz")
"""Weights in formats that can run code, or that are not read for another reason: never loaded, so not of the model."""
_LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
HARMLESS = (
    ".git*",
    "README*",
    *_LICENCES,
    "*.md",
    "*.png",
    "*.jpg",
    "*.jpeg",
    "*.gif",
    "*.svg",
    "*.webp",
    "*.pdf",
    "*.bin.index.json",
)
"""For people, or about weights that are not read. Every other file is of the model, whatever reads it."""
_INDEX = "*.safetensors.index.json"


def licence_files(directory: Path) -> list[Path]:
    """The files beside a base model that say under what licence it is, and what it may not be used for."""
    patterns = (*_LICENCES, "COPYING*")
    return [path for pattern in patterns for path in sorted(directory.glob(pattern)) if path.is_file()]


def check_directory(directory: Path) -> None:
    """Refuses a directory that does not hold a base model, whole and by itself.

    Raises:
        ModelError: there is no such directory, it has no `config.json` or no `*.safetensors`, it is an adapter, or it
            names weights elsewhere.
    """
    if not directory.is_dir():
        raise ModelError(f"the base model's directory {directory} does not exist: check model.base in the recipe")
    if not (directory / "config.json").is_file():
        raise ModelError(f"the base model in {directory} has no config.json: give a directory saved by transformers")
    if not any(directory.glob("*.safetensors")):
        raise ModelError(
            f"the base model in {directory} has no *.safetensors file: save it again with "
            "save_pretrained (pickled .bin weights can run code and are not read)"
        )
    if (directory / "adapter_config.json").exists():
        # The loader would go on to the model that this file names, wherever that is.
        raise ModelError(
            f"the base model in {directory} has an adapter_config.json: an adapter is no base model; merge it first"
        )
    for index in sorted(directory.glob(_INDEX)):
        _check_index(index)
    _check_tokenizer(directory / "tokenizer_config.json")


def digest_of(directory: Path) -> str:
    """SHA-256 (hex) over the names and digests of all files of the model, in order of name.

    Those are all files directly in `directory` and in `additional_chat_templates`, but `PICKLED` and `HARMLESS`. The
    answer is remembered for this process as long as no file's size or time of change differs.

    Raises:
        ModelError: the directory does not hold a model, or something that is neither file nor folder.
    """
    check_directory(directory)
    paths = files_of(directory)
    stamps = [path.stat() for path in paths]
    return _digest(
        directory,
        tuple((path, stamp.st_size, stamp.st_mtime_ns) for path, stamp in zip(paths, stamps, strict=True)),
    )


def files_of(directory: Path) -> list[Path]:
    """The files that the digest is over.

    Raises:
        ModelError: there is something that is neither file nor folder, or a link to nothing.
    """
    found = []
    for place in (directory, directory / TEMPLATES):
        if not place.is_dir():
            continue
        for path in sorted(place.iterdir()):
            try:
                mode = path.stat().st_mode  # of what a link leads to: hubs' caches are made of links
            except OSError as error:
                raise ModelError(f"{path}: cannot be read ({error.strerror}): remove it, or fetch it again") from None
            if stat.S_ISREG(mode):
                if not is_left_out(path.name):
                    found.append(path)
            elif not stat.S_ISDIR(mode):
                raise ModelError(f"{path}: neither a file nor a folder, so it is of no model: remove it")
    return found


def is_left_out(name: str) -> bool:
    """Whether a file of this name is not of the model."""
    return any(fnmatchcase(name, pattern) for pattern in (*PICKLED, *HARMLESS))


@functools.lru_cache(maxsize=64)
def _digest(directory: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    listing = []
    for path, _, _ in files:
        with path.open("rb") as file:
            name = path.relative_to(directory).as_posix()
            listing.append([name, hashlib.file_digest(file, "sha256").hexdigest()])
    return hashlib.sha256(json.dumps([VERSION, sorted(listing)], separators=(",", ":")).encode()).hexdigest()


def _check_index(index: Path) -> None:
    try:
        named: Any = json_value(read_file(index, LINE.longest))
        shards = set(named["weight_map"].values())
        elsewhere = sorted(str(name) for name in shards if not _is_plain(name))
    except (OSError, UnreadableError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{index}: cannot be read as a list of weights: fetch the model again") from None
    if elsewhere:
        raise ModelError(
            f"{index}: names weights that are no *.safetensors beside it ({elsewhere[0]!r}): do not use this model"
        )


def _is_plain(name: object) -> bool:
    plain = isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")
    return plain and not is_left_out(str(name))


def _check_tokenizer(configuration: Path) -> None:
    """Refuses a tokenizer that names files of its own to be read, which may lie anywhere."""
    try:
        content: Any = json_value(read_file(configuration, LINE.longest))
        named = {name: value for name, value in content.items() if name.endswith("_file") and isinstance(value, str)}
    except (OSError, UnreadableError, AttributeError):
        return  # there is none, or whoever loads it says that it is damaged
    for name, value in named.items():
        if Path(value).exists():  # else nothing can be read: some hubs' files name where they were once saved from
            raise ModelError(f"{configuration}: {name} names a file on this machine, {value!r}: do not use this model")


def template_file(directory: Path) -> Path:
    """The file that a model's chat template stands in, for a sentence that names it."""
    for name in ("chat_template.jinja", "chat_template.json"):
        if (directory / name).is_file():
            return directory / name
    return directory / "tokenizer_config.json"
