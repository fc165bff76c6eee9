"""The adapter that a run begins with, where that is an earlier run's: read, and compared with what the recipe says.

The recipe names it by `continue_from`, so every site has agreed on it; the sites learn its values with the first
round's order and compare them with that, the part that does not travel included. It is public, as every adapter of a
run is; what the earlier run was charged for it stays in the sites' ledgers, and the new run's charges come on top.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sealora_common.adapter import AdapterLayout, Tensors, TensorSpec, adapter_kind
from sealora_common.config import CONFIGURATION, json_value, read_file
from sealora_common.errors import RecipeError, UnreadableError
from sealora_common.export.peft_directory import CONFIGURATION as PEFT_CONFIGURATION
from sealora_common.export.peft_directory import read_held
from sealora_common.export.personal import require_not_personal
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.round.order import vector_digest

_NOT_OF_THE_VALUES = {
    "base_model_name_or_path",
    "revision",
    "task_type",
    "target_modules",
    "lora_dropout",
    "inference_mode",
}
"""Of PEFT's configuration: what may differ while the same values mean the same."""


def read_starting_adapter(path: Path, recipe: Recipe) -> Tensors:
    """The final adapter of a run, or an adapter as PEFT writes it, if the recipe can go on with it.

    Args:
        path: a run's directory, or an adapter's.
        recipe: the run that is to begin; its `continue_from` is not read.

    Raises:
        ModelError: the adapter cannot be read.
        RecipeError: it has other frozen values, another scale or another base model than the recipe's.
        PolicyError: a site trained it for itself: every site would be sent it.
    """
    for place in (path, path.resolve().parent):
        require_not_personal(place)
    is_run = (path / "run.json").exists()
    directory = path / "adapter" if is_run else path
    if is_run and not directory.exists():
        raise RecipeError(f"{path} holds a run that has not come to its end: finish it first, or name another")
    try:
        tensors = read_held(directory, recipe)
    except KeyError as error:  # as safetensors raises it
        raise RecipeError(
            f"{directory}: its values are of type {error.args[0]}, which NumPy does not know: save it in float32"
        ) from None
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise RecipeError(f"{path}: its adapter has values that are no number: name another")
    if is_run:
        _require_base_model(path, recipe)
    layout = _layout_of(tensors)
    _require_configuration(directory, layout, recipe)
    kind = adapter_kind(recipe)
    initial, travels = kind.initial(layout), set(kind.shared(layout).names)
    if any(not np.array_equal(tensors[name], initial[name]) for name in layout.names if name not in travels):
        raise RecipeError(
            f"{path}: the part of its adapter that is not trained is not what the recipe's {recipe.adapter} begins "
            "with: set seed and aggregation as they were when it was trained"
        )
    return tensors


def digest_of_adapter(tensors: Tensors) -> str:
    """What `continue_from` knows an adapter by: SHA-256 (hex) of all its values, float32, tensors in order of name."""
    return vector_digest(_layout_of(tensors).flatten(tensors))


def agreed_start(path: Path | None, recipe: Recipe) -> Tensors | None:
    """The adapter at `path`, which must be the one that the recipe's parties agreed on; None if it begins anew.

    Raises:
        ModelError: as for `read_starting_adapter`.
        RecipeError: likewise; or it is another adapter than was agreed on, or there is none, or none was agreed on.
    """
    if path is None:
        if recipe.continue_from is None:
            return None
        raise RecipeError(
            f"the recipe goes on with adapter {recipe.continue_from[:12]} (continue_from): name the run or directory "
            "that holds it with --continue-from"
        )
    tensors = read_starting_adapter(path, recipe)
    found = digest_of_adapter(tensors)
    if recipe.continue_from is None:
        raise RecipeError(
            f"the recipe does not say that the run goes on with {path}, so sites would refuse it: put in "
            f"`continue_from: {found}` and give every site that recipe"
        )
    if found != recipe.continue_from:
        raise RecipeError(
            f"{path} holds adapter {found[:12]}, but the recipe's continue_from is {recipe.continue_from[:12]}: name "
            "the run that was agreed on, or agree on this one"
        )
    return tensors


def _layout_of(tensors: Tensors) -> AdapterLayout:
    """As a site's model would have it: sorted by name."""
    return AdapterLayout(tuple(TensorSpec(name, tuple(tensors[name].shape)) for name in sorted(tensors)))


def _require_base_model(run: Path, recipe: Recipe) -> None:
    earlier = load_recipe(run / "recipe.yaml").model.digest
    if None not in {earlier, recipe.model.digest} and earlier != recipe.model.digest:
        raise RecipeError(
            f"{run} was trained on base model {str(earlier)[:12]}, but the recipe's is {str(recipe.model.digest)[:12]} "
            "(model.digest): an adapter goes on with the base model that it was trained on"
        )


def _require_configuration(directory: Path, layout: AdapterLayout, recipe: Recipe) -> None:
    """Refuses values that would mean something else under the recipe: of another kind, or scaled otherwise."""
    try:
        content = json_value(read_file(directory / PEFT_CONFIGURATION, CONFIGURATION.longest))
    except (OSError, UnreadableError) as error:
        raise RecipeError(f"{directory / PEFT_CONFIGURATION}: cannot be read ({error}): restore it") from None
    if not isinstance(content, dict):
        raise RecipeError(f"{directory / PEFT_CONFIGURATION}: is no configuration of PEFT: restore it")
    wanted = adapter_kind(recipe).peft_configuration(recipe.model, layout).model_dump(mode="json")
    for name, value in wanted.items():
        if name not in _NOT_OF_THE_VALUES and name in content and content[name] != value:
            raise RecipeError(
                f"{directory}: its {name} is {content[name]!r}, but the recipe's adapter has {value!r}: set the "
                "recipe's adapter as it was when this one was trained"
            )
