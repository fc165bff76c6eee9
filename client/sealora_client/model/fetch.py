"""Where the base model lies on this machine, after fetching it if need be."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import platformdirs

from sealora_client.model.model_files import HARMLESS, PICKLED
from sealora_client.model.smollm2 import CATALOGUE_NAME, smollm2
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.model import ModelSection

CACHE_VARIABLE = "SEALORA_CACHE"

# Other folders than `additional_chat_templates` (and what begins like it) hold the same weights in other formats.
_LEFT_AT_THE_HUB = (*PICKLED, *HARMLESS, "[!a]*/*", "a[!d]*/*")
_HUB_TIMEOUT = 5.0
"""Seconds until the hub must have answered."""


def locate_base(section: ModelSection) -> Path:
    """The local directory of the recipe's base model.

    `section.base` is tried as a local directory, as the catalogue name `smollm2-135m-instruct`, and, if it has the
    form `owner/name`, as a Hugging Face id. What is fetched is kept below `cache_root()`.

    Raises:
        ModelError: it is nowhere to be found; the sentence says what to do.
        StorageError: the cache could not be written.
    """
    local = Path(section.base).expanduser()
    if local.is_dir():
        return local
    if section.base == CATALOGUE_NAME:
        return smollm2(cache_root())
    if not _is_hub_id(section.base):
        raise ModelError(
            f"model.base: there is no directory {section.base!r}: give a local directory, {CATALOGUE_NAME}, "
            "or a Hugging Face id of the form owner/name"
        )
    return _from_hub(section.base, section.revision)


def is_here(section: ModelSection) -> bool:
    """Whether `locate_base` finds the model on this machine, with nothing to fetch."""
    if Path(section.base).expanduser().is_dir():
        return True
    if section.base == CATALOGUE_NAME:
        return (cache_root() / CATALOGUE_NAME).is_dir()
    return _is_hub_id(section.base) and _is_in_hub_cache(section.base, section.revision)


def cache_root() -> Path:
    """Where fetched models are kept: the environment's `SEALORA_CACHE`, or the user's cache directory."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("sealora"))


def _is_hub_id(base: str) -> bool:
    """Whether `base` has the form `owner/name`; anything that looks like a path never goes to the network."""
    return base.count("/") == 1 and base[0] not in "./~" and not base.endswith("/") and "\\" not in base


@functools.cache  # asked again each round; the network need not be
def _from_hub(name: str, revision: str | None) -> Path:
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                ignore_patterns=list(_LEFT_AT_THE_HUB),
                cache_dir=_hub_cache(),
                etag_timeout=_HUB_TIMEOUT,
            )
        )
    except errors.GatedRepoError as error:
        why, remedy = "its owner wants you to accept terms first", "accept them on its page and run hf auth login"
        raise _unavailable(name, why, remedy) from error
    except errors.RevisionNotFoundError as error:
        raise _unavailable(name, f"it has no revision {revision!r}", "check model.revision") from error
    except errors.RepositoryNotFoundError as error:
        why, remedy = "the hub does not know it or keeps it private", "check the spelling or run hf auth login"
        raise _unavailable(name, why, remedy) from error
    except errors.HFValidationError as error:
        raise _unavailable(name, "this is no valid Hugging Face id", "check the spelling") from error
    except Exception as error:  # network, disk and protocol: the hub's client raises many unrelated types
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
        raise _unavailable(name, said, "check the network") from error


def _is_in_hub_cache(name: str, revision: str | None) -> bool:
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(name, revision=revision, cache_dir=_hub_cache(), local_files_only=True)
    except Exception:  # the hub's client raises many unrelated types
        return False
    return True


def _hub_cache() -> Path | None:
    """Whoever names a cache wants everything there; otherwise models that the user already has are found."""
    return cache_root() / "hub" if os.environ.get(CACHE_VARIABLE) else None


def _unavailable(name: str, why: str, remedy: str) -> ModelError:
    return ModelError(
        f"model.base: {name!r} is no local directory and could not be fetched from the Hugging Face hub "
        f"({why}): {remedy}, or give a local directory"
    )
