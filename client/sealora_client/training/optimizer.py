"""The site's optimiser on noisy gradients."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import nn

from sealora_client.model.device import is_gpu
from sealora_common.recipe.sections.training import TrainingSection

log = logging.getLogger(__name__)


def make_optimizer(training: TrainingSection, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """The recipe's optimiser over `parameters`.

    `paged_adamw_8bit` exists on CUDA alone; elsewhere `adamw`, which it approximates, takes its place.
    """
    if training.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=training.learning_rate, momentum=training.momentum, weight_decay=training.weight_decay
        )
    if training.optimizer == "paged_adamw_8bit":
        if is_gpu(parameters[0].device):
            from bitsandbytes.optim import PagedAdamW8bit

            paged: torch.optim.Optimizer = PagedAdamW8bit(
                parameters,
                lr=training.learning_rate,
                betas=training.betas,
                eps=training.eps,
                weight_decay=training.weight_decay,
            )
            return paged
        log.warning("training.optimizer: paged_adamw_8bit needs CUDA; using adamw")
    return torch.optim.AdamW(
        parameters,
        lr=training.learning_rate,
        betas=training.betas,
        eps=training.eps,
        weight_decay=training.weight_decay,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of the steps that follow; the moments stay."""
    for group in optimizer.param_groups:
        group["lr"] = rate
