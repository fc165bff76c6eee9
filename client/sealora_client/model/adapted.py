"""The base model with the recipe's adapter on it: what a site trains, and reads and writes by tensor name."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from sealora_client.model.adapters.choice import attachment
from sealora_client.model.adapters.rules.trained_tensor import TrainedTensor
from sealora_client.model.base import load_base
from sealora_client.model.fetch import locate_base
from sealora_client.model.model_files import digest_of
from sealora_client.model.sharing import sharing_key
from sealora_client.model.tokenizer import base_tokenizer
from sealora_common.adapter import AdapterLayout, Tensors, TensorSpec, adapter_kind
from sealora_common.errors import ModelError
from sealora_common.recipe.schema import Recipe
from sealora_common.recipe.sections.model import ModelSection


class AdaptedModel:
    """A frozen base model, one PEFT adapter on it, and the tokenizer.

    The adapter is held in float32 whatever the base computes in: clipping and noise are wrong in 16 bits. A new
    instance carries the recipe's initial adapter, and none of its tensors is trained until `train_only`.

    Attributes:
        model: the PEFT model, in `eval()` mode.
        tokenizer: the base model's own.
        device: where the base model lies.
        layout: all tensors of the adapter, sorted by name. Names are those of a saved PEFT adapter.
        base_digest: SHA-256 (hex) of the base model's files, see `digest_of`.
        lock: held by whoever trains or evaluates, where several sites in one process share this instance.
    """

    def __init__(
        self,
        model: PeftModel,
        tensors: Mapping[str, TrainedTensor],
        tokenizer: PreTrainedTokenizerBase,
        base_digest: str,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.base_digest = base_digest
        self.device = torch.device(model.device)
        self.lock = threading.RLock()
        self._tensors = dict(sorted(tensors.items()))
        for tensor in self._tensors.values():
            tensor.parameter.data = tensor.parameter.data.to(torch.float32)
        self.layout = AdapterLayout(tuple(_spec(name, tensor) for name, tensor in self._tensors.items()))
        self.model.eval()
        self.train_only(AdapterLayout(()))

    @classmethod
    def load(cls, recipe: Recipe) -> AdaptedModel:
        """Finds, checks and loads the recipe's base model, and puts the recipe's initial adapter on it.

        Raises:
            ModelError: the base model cannot be had or loaded, is not the one of `model.digest`, or has no place
                for the recipe's adapter.
        """
        return cls._load_from(*_checked_base(recipe.model), recipe)

    @classmethod
    def _load_from(cls, directory: Path, base_digest: str, recipe: Recipe) -> AdaptedModel:
        tokenizer = base_tokenizer(directory)
        attached = attachment(recipe)
        model = attached.attach(load_base(recipe.model, directory, as_agreed=recipe.begins_with_the_base))
        adapted = cls(model, attached.tensors(model), tokenizer, base_digest)
        adapted.write(adapter_kind(recipe).initial(adapted.layout))
        return adapted

    @property
    def pad_id(self) -> int:
        """The token id that fills up batches; it is masked everywhere, so its meaning does not matter."""
        pad = self.tokenizer.pad_token_id
        return 0 if pad is None else int(pad)

    @property
    def end_ids(self) -> list[int]:
        """Every token that ends a turn, after the tokenizer and after the base model's own generation settings."""
        declared = self.model.generation_config.eos_token_id
        ids = {self.tokenizer.eos_token_id, *(declared if isinstance(declared, list) else [declared])}
        return sorted(token for token in ids if token is not None)

    def write(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Copies named tensors, any subset of the adapter, into the live adapter as float32.

        Raises:
            ModelError: the adapter has no tensor of that name, or it has another shape; nothing was written then.
        """
        for name, value in tensors.items():
            parameter = self._parameter(name)
            if value.shape != tuple(parameter.shape):
                raise ModelError(
                    f"adapter tensor {name} has shape {value.shape} where the model has {tuple(parameter.shape)}: "
                    "use the recipe it was trained with"
                )
        with torch.no_grad():
            for name, value in tensors.items():
                # A copy, because torch cannot share the memory of a read-only array.
                self._parameter(name).copy_(torch.from_numpy(np.array(value, dtype=np.float32)))

    def read(self, names: Iterable[str]) -> Tensors:
        """The named tensors of the live adapter, as float32 copies.

        Raises:
            ModelError: the adapter has no tensor of that name.
        """
        return {name: self._parameter(name).detach().cpu().numpy().copy() for name in names}

    def train_only(self, layout: AdapterLayout) -> None:
        """Makes exactly the tensors of `layout` require a gradient, and drops all gradients there are.

        Raises:
            ModelError: the adapter has no tensor of that name.
        """
        wanted = self.parameters_of(layout)
        self.model.requires_grad_(False)
        self.model.zero_grad(set_to_none=True)
        for parameter in wanted:
            parameter.requires_grad_(True)

    def parameters_of(self, layout: AdapterLayout) -> list[torch.nn.Parameter]:
        """The live float32 parameters of `layout`, in its order.

        Raises:
            ModelError: the adapter has no tensor of that name.
        """
        return [self._parameter(name) for name in layout.names]

    def tensors_of(self, layout: AdapterLayout) -> list[tuple[str, TrainedTensor]]:
        """The tensors of `layout` with the rules of their gradients, each with its name, in its order.

        Raises:
            ModelError: the adapter has no tensor of that name.
        """
        return [(name, self._tensor(name)) for name in layout.names]

    def _parameter(self, name: str) -> torch.nn.Parameter:
        return self._tensor(name).parameter

    def _tensor(self, name: str) -> TrainedTensor:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise ModelError(f"the adapter has no tensor {name}: use the recipe it was trained with")
        return tensor


def _spec(name: str, tensor: TrainedTensor) -> TensorSpec:
    values = tensor.parameter.detach().cpu().numpy()
    return TensorSpec(name, values.shape, values.astype("<f4").tobytes() if tensor.is_of_base else None)


_loaded: dict[bytes, AdaptedModel] = {}
_loading = threading.Lock()


def adapted_model(recipe: Recipe) -> AdaptedModel:
    """The process's one `AdaptedModel` for all recipes of the same `sharing_key`, loaded at the first call.

    All sites of a simulation share it, and so one base model in memory: whoever uses it writes the adapter it
    needs first, and holds `lock` meanwhile if sites run in threads.

    Raises:
        ModelError: see `AdaptedModel.load`.
    """
    with _loading:
        directory, base_digest = _checked_base(recipe.model)
        key = sharing_key(recipe, base_digest)
        if key not in _loaded:
            _loaded[key] = AdaptedModel._load_from(directory, base_digest, recipe)
        return _loaded[key]


def _checked_base(section: ModelSection) -> tuple[Path, str]:
    directory = locate_base(section)
    found = digest_of(directory)
    if section.digest not in (None, found):
        raise ModelError(
            f"the base model in {directory} has digest {found} where the recipe's model.digest is {section.digest}: "
            "use the base model that the federation agreed on, or agree on a new recipe (digests that Sealora printed "
            "before they covered every file differ: print it anew with sealora-site model digest)"
        )
    return directory, found
