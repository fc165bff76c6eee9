"""The front matter of a model card in Hugging Face's format: what the hub reads of it."""

from __future__ import annotations

import yaml

from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe


def card_head(recipe: Recipe, base: str | None, licence: str | None, *, is_merged: bool = False) -> str:
    """The front matter with the lines around it.

    Args:
        recipe: the run's.
        base: the base model as others know it; None names none.
        licence: its identifier; None if it is not known.
        is_merged: whether the weights are those of a whole model, not of an adapter.
    """
    fields: dict[str, object] = {}
    if base is not None:
        fields |= {"base_model": base, "base_model_relation": "merge" if is_merged else "adapter"}
    fields |= {
        "library_name": "transformers" if is_merged else "peft",
        "pipeline_tag": "text-generation",
        "license": "other" if licence is None else licence.lower(),
    }
    if licence is None:
        fields["license_name"] = "not-stated"
    private = ["differential-privacy"] if mechanism_of(recipe).protects else []
    fields["tags"] = ["sealora", "federated-learning", recipe.adapter, *private]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n"
