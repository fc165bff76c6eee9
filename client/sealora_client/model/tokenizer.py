"""A base model's tokenizer, which needs none of its weights."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from sealora_client.data.templates.rendering import check_template
from sealora_client.model.model_files import template_file
from sealora_client.model.pretrained import load_tokenizer
from sealora_common.errors import ModelError


def base_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of the base model in `directory`, which pads with its end of text if it has nothing else.

    Raises:
        ModelError: it does not load, needs code of its own, or has a chat template beyond its limits.
    """
    try:
        tokenizer = load_tokenizer(directory)
    except ModelError:
        raise
    except Exception as error:  # whatever damaged files make the libraries raise
        raise ModelError(
            f"the base model in {directory} has no tokenizer that loads: save its tokenizer files there too"
        ) from error
    check_template(tokenizer, str(template_file(directory)))
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
