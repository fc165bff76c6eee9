"""What a device computes, to the last bit, as one digest: two devices may share a sum out if theirs are equal.

Where one rounded otherwise than the other, a record's gradient would depend on which of them computed it, and that on
who else was drawn: one record more would move others' gradients, as shapes that follow the sample would (see
`model.fixed_shape`).
"""

from __future__ import annotations

import hashlib

import torch

from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.fixed_shape import padded_lengths
from sealora_client.objective.choice import objective_of
from sealora_client.training.gradients.made_up import compute, made_up_examples, undisturbed
from sealora_client.training.gradients.per_example import PerExampleGradients
from sealora_common.adapter import adapter_kind
from sealora_common.recipe import Recipe


def bits_of_device(model: AdaptedModel, recipe: Recipe) -> bytes:
    """Of gradients, norms and losses of made-up examples, a full micro-batch of every shape that records may have.

    The model, its adapter included, is left as it was; `model.lock` is held meanwhile.

    Args:
        model: the loaded model, on the device that is asked.
        recipe: as for `require_batch_invariant`, which comes first.

    Raises:
        ModelError: gradients cannot be told apart by example, or do not reach the adapter.
        torch.OutOfMemoryError: a micro-batch of the longest examples does not fit.
    """
    objective, rows, most = objective_of(recipe), recipe.training.micro_batch_size, recipe.data.max_tokens
    halves = {layout.names: layout for layout in (adapter_kind(recipe).trained(model.layout, n) for n in (1, 2))}
    found = hashlib.sha256()
    with model.lock, undisturbed(model, adapter_kind(recipe).initial(model.layout)):
        for layout in halves.values():
            model.train_only(layout)
            with PerExampleGradients(model.tensors_of(layout), rows) as gradients:
                for length in reversed(padded_lengths(most)):
                    examples = made_up_examples(model, objective, rows, min(length - 1, most), length)
                    made = compute(model, objective, gradients, examples, model.pad_id)
                    for part in (made.fingerprints, made.norms, made.losses):
                        found.update(_without_payloads(part).numpy().tobytes())
    return found.digest()


def _without_payloads(values: torch.Tensor) -> torch.Tensor:
    """Not-a-number has many bit patterns, which mean the same."""
    return torch.where(values.isnan(), torch.nan, values) if values.is_floating_point() else values
