"""The adapter's layout on a base model that is not loaded: how large it is, for a plan."""

from __future__ import annotations

from sealora_client.model.adapted import adapted_model
from sealora_client.model.adapters.choice import attachment
from sealora_client.model.fetch import is_here, locate_base
from sealora_client.model.model_files import check_directory
from sealora_client.model.pretrained import outline_of
from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.errors import ModelError
from sealora_common.recipe import Recipe


def outlined_layout(recipe: Recipe) -> AdapterLayout | None:
    """Names and shapes of the adapter that the recipe puts on its base model; None where the model is not here.

    What tensors begin with is left out. The base model's weights are not read, so this takes a second or two however
    large they are; but for a kind that makes its tensors of them (DoRA), for which the model is loaded.

    Raises:
        ModelError: the base model takes no such adapter, or its files are no use.
    """
    if not is_here(recipe.model):
        return None
    directory = locate_base(recipe.model)
    check_directory(directory)
    try:
        base = outline_of(directory)
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged configuration makes the libraries raise
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
        raise ModelError(
            f"the base model in {directory} cannot be outlined ({said}): check that its files are complete and that it "
            "is a causal language model"
        ) from error
    base.requires_grad_(False)
    attached = attachment(recipe)
    try:
        tensors = attached.tensors(attached.attach(base))
    except NotImplementedError:  # of torch, that a tensor without values was asked for them
        return adapted_model(recipe).layout
    return AdapterLayout(tuple(TensorSpec(name, tuple(tensors[name].parameter.shape)) for name in sorted(tensors)))
