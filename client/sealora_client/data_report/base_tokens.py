"""A base model's tokenizer and what its files say of its tokens: all of the model that records are looked at with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from sealora_client.data.templates.soundness import ModelTokens
from sealora_client.model.fetch import is_here, locate_base
from sealora_client.model.model_files import check_directory
from sealora_client.model.tokenizer import base_tokenizer
from sealora_common.config import LINE, JsonValue, json_value, read_file
from sealora_common.errors import ModelError, UnreadableError
from sealora_common.recipe.sections.model import ModelSection


@dataclass(frozen=True)
class BaseTokens:
    """A tokenizer, and what the model makes of its tokens.

    Attributes:
        tokenizer: the base model's.
        tokens: those that end a turn, and how many the model has.
    """

    tokenizer: PreTrainedTokenizerBase
    tokens: ModelTokens

    @classmethod
    def load(cls, section: ModelSection) -> BaseTokens:
        """Of the recipe's base model, if it is on this machine. Its weights are neither read nor checked.

        Raises:
            ModelError: it is not here, or its tokenizer cannot be loaded.
        """
        if not is_here(section):
            raise ModelError(
                f"the base model {section.base} is not here: run `sealora-site model fetch {section.base}`"
            )
        directory = locate_base(section)
        check_directory(directory)
        tokenizer = base_tokenizer(directory)
        configuration = _object(directory / "config.json")
        text = configuration.get("text_config", configuration)
        sizes = [each.get("vocab_size") for each in (configuration, text) if isinstance(each, dict)]
        count = next((size for size in sizes if isinstance(size, int)), len(tokenizer))
        ends = {tokenizer.eos_token_id, *_ends(_object(directory / "generation_config.json") or configuration)}
        return cls(tokenizer, ModelTokens(sorted(end for end in ends if end is not None), count))


def _ends(settings: dict[str, JsonValue]) -> Iterator[int]:
    declared = settings.get("eos_token_id")
    yield from (end for end in (declared if isinstance(declared, list) else [declared]) if isinstance(end, int))


def _object(path: Path) -> dict[str, JsonValue]:
    """What a model's file says; nothing if it is not there. Whoever loads the model says what is wrong with it."""
    try:
        value = json_value(read_file(path, LINE.longest))
    except (OSError, UnreadableError):
        return {}
    return value if isinstance(value, dict) else {}
