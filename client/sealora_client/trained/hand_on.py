"""Writes a trained adapter for others: a directory that is there whole or not at all.

As PEFT: weights, configuration, tokenizer with its chat template, card, the base model's licence. Merged: a whole model
in safetensors, which plain transformers opens. As ONNX: a whole model for what runs that.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sealora_client.model.fetch import locate_base
from sealora_client.model.model_files import digest_of, licence_files
from sealora_client.model.tokenizer import base_tokenizer
from sealora_client.trained.card import CardSubject, model_card
from sealora_client.trained.form import Form
from sealora_client.trained.offline import require_base
from sealora_client.trained.trained_adapter import TrainedAdapter
from sealora_common.config import CONFIGURATION, read_file
from sealora_common.errors import ModelError, PolicyError, StorageError, UnreadableError, storage_error
from sealora_common.export.choice import exporter_of
from sealora_common.export.personal import MUST_NOT_LEAVE
from sealora_common.recipe import Recipe
from sealora_common.storage.durable import rename_durably, settle_file, write_atomically
from sealora_common.storage.own_files import PRIVATE_FILE, make_directory

CARD = "README.md"


@dataclass(frozen=True)
class HandOn:
    """What is written, and how.

    Attributes:
        out: the directory; it must not exist, or be empty.
        form: the adapter alone, or a whole model.
        base_name: under which others know the base model; None takes the recipe's, of a path its last part.
        licence: its identifier on the card.
    """

    out: Path
    form: Form = "peft"
    base_name: str | None = None
    licence: str = "other"


def hand_on(trained: TrainedAdapter, wish: HandOn) -> None:
    """Writes it.

    Raises:
        PolicyError: it must not leave the site, or there is something in its place.
        ModelError: the base model is not here, not the recipe's, or takes no merging of this kind of adapter.
        StorageError: it could not be written; nothing is left of it then.
    """
    out, recipe = wish.out, trained.recipe
    if trained.is_personal:
        raise PolicyError(f"{MUST_NOT_LEAVE}: export the adapter of the run itself")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PolicyError(f"{out}: is there already: choose another --out, or move it away")
    require_base(recipe)
    base = locate_base(recipe.model)
    if recipe.model.digest not in (None, digest_of(base)):
        raise ModelError(f"the base model in {base} is not the one that the recipe names: fetch that one")
    name = wish.base_name or portable_name(recipe)
    aside = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        make_directory(aside)
        _write(aside, trained, wish, name, base)
        for file in aside.iterdir():
            settle_file(file, mode=PRIVATE_FILE)
        if out.exists():
            out.rmdir()
        rename_durably(aside, out)
    except OSError as error:
        raise storage_error(out, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def portable_name(recipe: Recipe) -> str:
    """The base model's name as others may know it: of a path the last part, which says nothing of this machine."""
    base = recipe.model.base
    is_path = Path(base).expanduser().is_dir() or base[0] in "./~" or "\\" in base
    return base.replace("\\", "/").rstrip("/").rpartition("/")[2] if is_path else base


def _write(aside: Path, trained: TrainedAdapter, wish: HandOn, name: str, base: Path) -> None:
    named = trained.recipe.model_copy(update={"model": trained.recipe.model.model_copy(update={"base": name})})
    if wish.form == "merged":
        from sealora_client.trained.merge import write_merged

        _quietly(lambda: write_merged(trained, base, aside))
    elif wish.form == "onnx":
        from sealora_client.trained.onnx_form import write_onnx

        _quietly(lambda: write_onnx(trained, base, aside))
    else:
        exporter_of(named).export(aside, trained.tensors, named)
    _quietly(lambda: base_tokenizer(base).save_pretrained(aside))
    for file in licence_files(base):
        write_atomically(aside / file.name, _licence(file))
    subject = CardSubject(trained, name, wish.licence, wish.form)
    write_atomically(aside / CARD, model_card(subject).encode())


def _licence(file: Path) -> bytes:
    try:
        return read_file(file, CONFIGURATION.longest)
    except UnreadableError as error:
        raise ModelError(f"{file}: cannot be handed on with the model ({error}): move it away") from None


def _quietly(write: Callable[[], object]) -> None:
    """What a library writes: whatever it raises for a full disk is one sentence."""
    try:
        write()
    except (ModelError, StorageError, OSError):
        raise
    except Exception as error:  # safetensors' and tokenizers' own, which are no OSError
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
        raise StorageError(f"the export could not be written ({said}): check the disk, then try again") from None
