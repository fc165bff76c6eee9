"""A base model with an adapter merged into its weights, as ONNX: `model.onnx`, which needs neither torch nor Python.

It is one forward pass, in float32: token ids and attention mask of shape (batch, tokens) in, logits of shape (batch,
tokens, vocabulary) out. It keeps nothing of earlier tokens, so that each token that is generated costs the whole text
again: enough for a class or a code, slow for long answers.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sealora_client.trained.merge import merged_model
from sealora_client.trained.trained_adapter import TrainedAdapter
from sealora_common.errors import ModelError

ONNX_MODEL = "model.onnx"
INPUTS = ("input_ids", "attention_mask")
OUTPUT = "logits"


def require_onnx() -> None:
    """Refuses to go on without what writes the form.

    Raises:
        ModelError: it is not installed.
    """
    if not all(map(find_spec, ("onnx", "onnxscript"))):
        raise ModelError('--onnx takes packages that are not installed: pip install "sealora[onnx]"')


def write_onnx(trained: TrainedAdapter, base: Path, out: Path) -> None:
    """Writes the model, with its weights beside it if they are large, and its configuration into `out`.

    Raises:
        ModelError: as of `merged_model`, or the model's code is not one that can be traced.
    """
    require_onnx()
    model: Any = merged_model(trained, base, out / "adapter")
    model.set_attn_implementation("eager")  # plain operations, which every runtime has
    model.to(device="cpu", dtype=torch.float32).eval()
    program = _traced(model)
    # Where each operation came from: files of this machine, which are nobody else's business.
    program.model.metadata_props.clear()
    graphs = [program.model.graph, *(function.graph for function in program.model.functions.values())]
    for graph in graphs:
        for node in graph.all_nodes():
            node.metadata_props.clear()
    program.save(str(out / ONNX_MODEL))
    model.config.save_pretrained(out)


def _traced(model: PreTrainedModel) -> Any:
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens", min=2, max=most)
    ids = torch.zeros((2, 8), dtype=torch.int64)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return torch.onnx.export(
                _Logits(model),
                (ids, torch.ones_like(ids)),
                dynamo=True,
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                dynamic_shapes=({0: batch, 1: tokens}, {0: batch, 1: tokens}),
                verbose=False,
            )
    except Exception as error:  # whatever of a model's code torch cannot trace
        raise ModelError(
            f"a base model of this kind ({model.config.model_type}) cannot be written as ONNX "
            f"({type(error).__name__}): export it with --merged"
        ) from error


class _Logits(nn.Module):
    """The model as a function of two tensors."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self._model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits
        return logits
