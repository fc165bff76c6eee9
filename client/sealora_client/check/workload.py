"""What a round works on: the base model and the site's records."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sealora_client.data.load import load_data
from sealora_client.data.population import Population
from sealora_client.evaluation.choice import federation_metric
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.fetch import is_here, locate_base
from sealora_client.model.model_files import digest_of
from sealora_common.config import Bounds, JsonValue, json_value
from sealora_common.errors import BudgetError, ModelError, UnreadableError
from sealora_common.health.finding import Finding, failed, passed, warned
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe

_MUCH_TRUNCATED = 0.1
_MANY_UNUSABLE = 0.1
_HEAD = Bounds(longest=100 << 20, nodes=5_000_000)
"""Of a safetensors file, whose library takes as much."""


def check_base_model(recipe: Recipe) -> tuple[Finding, int]:
    """Whether the base model is here, and the one that is meant; with its number of parameters (0: unknown)."""
    base, wanted = recipe.model.base, recipe.model.digest
    if not is_here(recipe.model):
        return failed("base model", f"{base} is not here: run `sealora-site model fetch {base}`"), 0
    try:
        directory = locate_base(recipe.model)
        found = digest_of(directory)
    except ModelError as error:
        return failed("base model", str(error)), 0
    parameters = _parameters(directory)
    if wanted is not None and wanted != found:
        said = (
            f"{base} in {directory} has digest {found[:12]}, but the recipe's model.digest is {wanted[:12]}: use the "
            "base model that the federation agreed on"
        )
        return failed("base model", said), parameters
    return passed("base model", f"{base}, {parameters:,} parameters, digest {found[:12]}"), parameters


def check_metric(recipe: Recipe) -> Iterator[Finding]:
    """Whether what `evaluation.metric` takes is installed; nothing to say of a metric that takes nothing."""
    if recipe.evaluation.answer_metric is None:
        return
    try:
        federation_metric(recipe)
    except ModelError as error:
        yield failed("evaluation", str(error))
    else:
        section = recipe.evaluation
        yield passed("evaluation", f"{section.metric} of answers of up to {section.max_new_tokens} tokens")


@dataclass(frozen=True)
class Workload:
    """A site's records as the model sees them, and what is wrong with some of them."""

    train: Population
    heldout: Population
    warning: str | None = None
    remarks: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path, recipe: Recipe, model: AdaptedModel) -> Workload:
        """What a round would work on.

        Raises:
            DataError: the records cannot be used.
            ModelError: the model cannot be, with this recipe.
        """
        data = load_data(path, recipe, model)
        return cls(data.train, data.heldout, data.warning, data.remarks)

    def check(self, recipe: Recipe) -> Iterator[Finding]:
        """Counts, truncated and unusable shares, and what follows from the number of records for the recipe."""
        count = cut = unusable = 0
        for example in (example for part in (self.train, self.heldout) for unit in part.units for example in unit):
            count += 1
            cut += example.truncated
            unusable += example.unusable is not None
        of = "persons" if recipe.data.unit == "person" else "texts"
        trained, evaluated = (
            f"{part.examples} of {len(part)} {of}" if part.examples > len(part) or of == "persons" else f"{len(part)}"
            for part in (self.train, self.heldout)
        )
        said = f"{trained} to train on, {evaluated} held out"
        share = cut / count
        if share > _MUCH_TRUNCATED:
            yield warned(
                "records",
                f"{said}; {cut} ({share:.0%}) are cut to data.max_tokens {recipe.data.max_tokens}: shorten them, or "
                "agree on more tokens",
            )
        else:
            yield passed("records", f"{said}, {cut} ({share:.1%}) cut to data.max_tokens {recipe.data.max_tokens}")
        if self.warning is not None:
            tell = failed if unusable > _MANY_UNUSABLE * count else warned
            yield tell("records", self.warning)
        for remark in self.remarks:
            yield warned("records", remark)
        try:
            mechanism_of(recipe).require_units(recipe, max(len(self.train), len(self.heldout)))
        except BudgetError as error:
            yield failed("records", str(error))


def _parameters(directory: Path) -> int:
    """Elements of all tensors, from the heads of the safetensors files (8 bytes of length, then JSON)."""
    total = 0
    for path in directory.glob("*.safetensors"):
        try:
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                head = json_value(file.read(min(length, _HEAD.longest)), _HEAD)
        except (OSError, UnreadableError, struct.error):
            return 0
        if not isinstance(head, dict):
            return 0
        total += sum(_elements(tensor) for name, tensor in head.items() if name != "__metadata__")
    return total


def _elements(tensor: JsonValue) -> int:
    shape = tensor.get("shape") if isinstance(tensor, dict) else None
    sizes = [size for size in shape if isinstance(size, int)] if isinstance(shape, list) else []
    return math.prod(sizes)
