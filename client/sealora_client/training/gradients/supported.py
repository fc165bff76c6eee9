"""Which tensors can be trained by example."""

from __future__ import annotations

from collections.abc import Sequence

from sealora_client.model.adapters.rules.trained_tensor import TrainedTensor
from sealora_common.errors import ModelError


def require_supported(tensors: Sequence[tuple[str, TrainedTensor]]) -> None:
    """Refuses tensors whose gradients cannot be told apart by example.

    Raises:
        ModelError: a tensor's own rule does not hold for its module, or it is shared, frozen, on another device than
            the others, or part of a routed expert.
    """
    seen: set[int] = set()
    for name, tensor in tensors:
        parameter = tensor.parameter
        if (refusal := tensor.refusal()) is not None:
            why = refusal
        elif id(parameter) in seen:
            why = "shares its weight with another matrix"
        elif parameter.device != tensors[0][1].parameter.device:
            why = f"is on {parameter.device} while others are on {tensors[0][1].parameter.device}"
        elif not parameter.requires_grad:
            why = "is frozen"
        elif ".experts." in name:
            why = "belongs to a routed expert, where tokens of all examples are mixed"
        else:
            seen.add(id(parameter))
            continue
        raise ModelError(
            f"{name} {why}, so its gradients cannot be told apart by example: leave it out of {tensor.setting}"
        )
