"""The site's optimiser, and the moments it carries from one round to the next."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import nn

from sealora_common.adapter import AdapterLayout
from sealora_common.errors import StorageError
from sealora_common.recipe.schema import TrainingSection
from sealora_common.storage import write_atomically

log = logging.getLogger(__name__)

_BETAS = (0.9, 0.999)


@dataclass(frozen=True)
class OptimizerState:
    """AdamW's moments after a round, to start the next one from.

    They are made of noisy gradients, so they cost no privacy beyond what was charged for these. For that very
    reason they are kept only with a round that is charged AND released: a round that is trained again must start
    from the state before its lost attempt, or two releases' worth of noise draws would hang on one charge.

    Attributes:
        layout_digest: of the trained layout; the state serves no other.
        step: optimiser steps taken so far.
        first_moment: float32, shape (P,), in layout order.
        second_moment: float32, shape (P,).
    """

    layout_digest: str
    step: int
    first_moment: NDArray[np.float32]
    second_moment: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """Writes the state atomically, as safetensors readable by its owner alone.

        Raises:
            StorageError: the file could not be written.
        """
        tensors = {
            "layout_digest": np.frombuffer(bytes.fromhex(self.layout_digest), dtype=np.uint8),
            "step": np.array([self.step], dtype=np.int64),
            "first_moment": self.first_moment,
            "second_moment": self.second_moment,
        }
        write_atomically(path, safetensors.numpy.save(tensors), mode=0o600)

    @classmethod
    def load(cls, path: Path) -> OptimizerState:
        """The inverse of `save`.

        Raises:
            StorageError: the file is missing or damaged.
        """
        try:
            tensors = safetensors.numpy.load(path.read_bytes())
            return cls(
                layout_digest=tensors["layout_digest"].tobytes().hex(),
                step=int(tensors["step"][0]),
                first_moment=tensors["first_moment"],
                second_moment=tensors["second_moment"],
            )
        except (OSError, SafetensorError, KeyError, IndexError) as error:
            raise StorageError(
                f"cannot read the optimiser state {path} ({error}): delete it, and training goes on with fresh moments"
            ) from error


def make_optimizer(training: TrainingSection, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """The recipe's optimiser over `parameters`.

    `paged_adamw_8bit` exists on CUDA alone; elsewhere `adamw`, which it approximates, takes its place.
    """
    if training.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=training.learning_rate, weight_decay=training.weight_decay)
    if training.optimizer == "paged_adamw_8bit":
        if parameters[0].device.type == "cuda":
            from bitsandbytes.optim import PagedAdamW8bit

            paged: torch.optim.Optimizer = PagedAdamW8bit(
                parameters, lr=training.learning_rate, betas=_BETAS, weight_decay=training.weight_decay
            )
            return paged
        log.warning("training.optimizer: paged_adamw_8bit needs CUDA; using adamw")
    return torch.optim.AdamW(parameters, lr=training.learning_rate, betas=_BETAS, weight_decay=training.weight_decay)


def restore(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[nn.Parameter],
    layout: AdapterLayout,
    state: OptimizerState,
) -> None:
    """Puts carried moments into a fresh AdamW. Other optimisers, and moments of other tensors, start afresh."""
    if not isinstance(optimizer, torch.optim.AdamW):
        return
    if state.layout_digest != layout.digest or state.first_moment.shape != (layout.size,):
        log.warning("the carried optimiser state belongs to other tensors; starting with fresh moments")
        return
    first, second = layout.unflatten(state.first_moment), layout.unflatten(state.second_moment)
    for name, parameter in zip(layout.names, parameters, strict=True):
        optimizer.state[parameter] = {
            "step": torch.tensor(float(state.step)),
            "exp_avg": torch.from_numpy(first[name]).to(parameter.device),
            "exp_avg_sq": torch.from_numpy(second[name]).to(parameter.device),
        }


def carry(
    optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], layout: AdapterLayout
) -> OptimizerState | None:
    """The moments to carry on; None for an optimiser that has none, or only 8-bit ones."""
    if not isinstance(optimizer, torch.optim.AdamW) or not optimizer.state:
        return None

    def flat(moment: str) -> NDArray[np.float32]:
        pieces = (optimizer.state[parameter][moment] for parameter in parameters)
        named = zip(layout.names, pieces, strict=True)
        return layout.flatten({name: piece.detach().cpu().numpy() for name, piece in named})

    return OptimizerState(
        layout_digest=layout.digest,
        step=int(optimizer.state[parameters[0]]["step"]),
        first_moment=flat("exp_avg"),
        second_moment=flat("exp_avg_sq"),
    )
