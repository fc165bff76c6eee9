"""The front matter of a model card in Hugging Face's format: what the hub reads of it."""

from __future__ import annotations

import yaml

from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe


def card_head(recipe: Recipe, base: str | None, licence: str | None, *, library: str = "peft") -> str:
    """The front matter with the lines around it.

    Args:
        recipe: the run's.
        base: the base model as others know it; None names none.
        licence: its identifier; None if it is not known.
        library: that opens it; all but `peft` open a whole model.
    """
    fields: dict[str, object] = {}
    if base is not None:
        fields |= {"base_model": base, "base_model_relation": "adapter" if library == "peft" else "merge"}
    fields |= {
        "library_name": library,
        "pipeline_tag": "text-generation",
        "license": "other" if licence is None else licence.lower(),
    }
    if licence is None:
        fields["license_name"] = "not-stated"
    private = ["differential-privacy"] if mechanism_of(recipe).protects else []
    fields["tags"] = ["sealora", "federated-learning", recipe.adapter, *private]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n"
