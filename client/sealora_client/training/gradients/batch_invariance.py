"""Asks the loaded model, on the device it trains on, whether examples meet inside a micro-batch.

The clipped sum moves by one clipping norm a record only if a record's gradient does not depend on the other rows. Fixed
shapes take away what makes kernels round differently; that nothing else ties rows together is a property of the model
and of the device, so it is asked before any record is trained on: made-up examples are computed alone (dummies around
them), among others, and at other rows, forwards and backwards and as an evaluation does, and must come out the same to
the last bit. What is found so:

- kernels that add up in an order of their own each time (atomic additions on a GPU), or that round a row by where it
  stands in the batch;
- models that mix rows: statistics over the batch, experts of limited capacity;
- models that do not mask padding, such as RWKV: another padding token must change nothing, and another length nothing
  but rounding.

The longest micro-batches are among those tried, and full, so that memory is found short here if it is short.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch

from sealora_client.data.example import Example
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.fixed_shape import padded_lengths
from sealora_client.objective.choice import objective_of
from sealora_client.objective.objective import Objective
from sealora_client.training.gradients.made_up import (
    checkpointing,
    compute,
    made_up_examples,
    made_up_losses,
    relative,
    undisturbed,
)
from sealora_client.training.gradients.per_example import PerExampleGradients
from sealora_common.adapter import AdapterLayout, adapter_kind
from sealora_common.errors import ModelError
from sealora_common.recipe import Recipe

_MIXED = 0.05
"""Relative difference of gradients' norms above which rows are mixed, not only rounded differently."""

_LENGTH_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.1}
"""Of a mean loss, in nats a token and relative: what another padded length may change by rounding."""

_UNMASKED = "the base model does not leave padding out, so an example's gradient depends on how far it is padded"
_CHOOSE = "choose one whose attention or state masks padding"

_passed: WeakKeyDictionary[AdaptedModel, set[tuple[object, ...]]] = WeakKeyDictionary()


def require_batch_invariant(model: AdaptedModel, recipe: Recipe) -> None:
    """Refuses a model whose rows depend on what else is in the micro-batch. No records are needed.

    It computes some ten micro-batches, once a process for the same settings. The model, its adapter included, is left
    as it was; `model.lock` is held meanwhile. Dropout is off: its masks do not depend on records.

    Args:
        model: the loaded model, on the device it trains on.
        recipe: its `objective` and kind of adapter, `data.max_tokens` and `training.micro_batch_size` are read.

    Raises:
        ModelError: rows depend on each other, on their place or on the padding, or gradients cannot be told apart by
            example, or do not reach the adapter.
        torch.OutOfMemoryError: a micro-batch of the longest examples does not fit.
    """
    objective = objective_of(recipe)
    rows, lengths = recipe.training.micro_batch_size, padded_lengths(recipe.data.max_tokens)
    halves = {layout.names: layout for layout in (adapter_kind(recipe).trained(model.layout, n) for n in (1, 2))}
    asked = (
        rows,
        lengths[-1],
        recipe.objective.model_dump_json(),
        *halves,
        torch.get_num_threads(),
        len(checkpointing(model)),
    )
    with model.lock:
        if asked in _passed.setdefault(model, set()):
            return
        with undisturbed(model, adapter_kind(recipe).initial(model.layout)):
            for layout in halves.values():
                for length in sorted({lengths[0], lengths[-1]}, reverse=True):
                    longest = min(length - 1, recipe.data.max_tokens)
                    _require_apart(
                        model, objective, layout, rows, made_up_examples(model, objective, rows, longest, length)
                    )
            _require_free_of_length(model, objective, rows, lengths)
        _passed[model].add(asked)


def _require_apart(
    model: AdaptedModel, objective: Objective, layout: AdapterLayout, rows: int, examples: Sequence[Example]
) -> None:
    """Alone, among others, and at other rows over another padding token: bitwise the same.

    Args:
        model: holds some adapter.
        objective: of the recipe.
        layout: what is trained.
        rows: of a micro-batch.
        examples: as many, of one padded length.
    """
    model.train_only(layout)
    there, mirrored, other_pad = list(range(rows)), list(range(rows))[::-1], 1 if model.pad_id == 0 else 0
    with PerExampleGradients(model.tensors_of(layout), rows) as gradients:
        full = compute(model, objective, gradients, examples, model.pad_id)
        alone = compute(model, objective, gradients, examples[:1], model.pad_id)
        moved = compute(model, objective, gradients, examples[::-1], other_pad)
        if alone.equals(full, [0], [0]) and moved.equals(full, mirrored, there):
            return
        # That something differs is known; why, takes two passes more to tell.
        again = compute(model, objective, gradients, examples[:1], model.pad_id)
        turned = compute(model, objective, gradients, examples[::-1], model.pad_id)
    if not again.equals(alone, [0], [0]):
        raise ModelError(
            f"the model's kernels on {model.device.type} give the same example another gradient each time, so no "
            "record's influence is bounded exactly: choose another model.attention, eager or sdpa"
        )
    if alone.equals(full, [0], [0]) and turned.equals(full, mirrored, there):
        raise ModelError(f"{_UNMASKED}: {_CHOOSE}")
    if max(alone.distance(full, [0], [0]), turned.distance(full, mirrored, there)) > _MIXED:
        raise ModelError(
            "the base model mixes the examples of a batch, so one record changes the gradients of others: choose one "
            "without statistics over the batch and without experts of limited capacity"
        )
    raise ModelError(
        f"the model's kernels on {model.device.type} round an example by its place in the batch or by what else is "
        "there, so no record's influence is bounded exactly: choose another model.attention (eager or sdpa), another "
        "number of threads (OMP_NUM_THREADS) or model.compute_dtype: float32"
    )


def _require_free_of_length(model: AdaptedModel, objective: Objective, rows: int, lengths: Sequence[int]) -> None:
    """An example of the shortest micro-batches, padded to the longest as well: its loss may differ by rounding only."""
    examples = made_up_examples(model, objective, 1, lengths[0] - 1, lengths[0])
    own, padded = (
        made_up_losses(model, objective, examples, rows, model.pad_id, length) for length in (lengths[0], lengths[-1])
    )
    tolerance = _LENGTH_TOLERANCE.get(_compute_dtype(model), max(_LENGTH_TOLERANCE.values()))
    if not float(relative(own, padded).max()) <= tolerance:
        raise ModelError(f"{_UNMASKED}: {_CHOOSE}")


def _compute_dtype(model: AdaptedModel) -> torch.dtype:
    """Of the widest rounding anywhere in the base: an embedding, a norm or a 4-bit layer's products."""
    found = {parameter.dtype for parameter in model.model.parameters() if parameter.is_floating_point()}
    found |= {module.compute_dtype for module in model.model.modules() if hasattr(module, "compute_dtype")}
    return max(found & _LENGTH_TOLERANCE.keys(), key=_LENGTH_TOLERANCE.__getitem__, default=torch.float32)
