"""A run's directory as a simulation leaves it, with a made-up adapter in it."""

from __future__ import annotations

from pathlib import Path

import yaml

from sealora_client.model.adapted import AdaptedModel
from sealora_common.adapter import adapter_kind
from sealora_common.export.peft_directory import PeftDirectory

from adapter_kinds import made_up_adapter
from single_examples import recipe_for


def write_kept_run(directory: Path, base: Path, **sections: object) -> Path:
    """The recipe is `recipe_for`'s with these sections; returns the directory."""
    recipe = recipe_for(base, **sections)
    model = AdaptedModel.load(recipe)
    kind, made_up = adapter_kind(recipe), made_up_adapter(model, recipe, std=0.3)
    trained = {name: made_up[name] for name in kind.shared(model.layout).names}  # the rest stays as it began
    PeftDirectory().export(directory / "adapter", kind.initial(model.layout) | trained, recipe)
    (directory / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    return directory
