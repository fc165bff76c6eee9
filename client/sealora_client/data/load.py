"""From a site's data file to what its rounds work on: the one path that every reader of records takes.

Rounds, pre-flight, audit and budget must agree on who is in the data, or what is charged is not what is used.
`read_records_of` stops before the model is needed; `load_data` goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sealora_client.data.example import Example, Unusable
from sealora_client.data.fingerprint import DataSet
from sealora_client.data.population import Population
from sealora_client.data.record import Record
from sealora_client.data.records import read_records
from sealora_client.data.remarks import listed, remarks
from sealora_client.data.selection import evaluated
from sealora_client.data.tasks import require_tasks, weighted
from sealora_common.errors import DataError, ModelError
from sealora_common.recipe import Recipe

if TYPE_CHECKING:
    from sealora_client.model.adapted import AdaptedModel

_REASONS: dict[Unusable, str] = {
    "template": "the chat template fails on them",
    "altered": "the chat template changes their texts: white space at the ends, or markup that it rewrites",
    "tokenizer": "the tokenizer fails on them",
    "prompt": "nothing of their prompts is left as tokens",
    "response": "nothing of their responses is left as tokens",
    "label": "their labels are other tokens after their texts than after others",
    "vocabulary": "the tokenizer makes tokens of them that the model has no embedding for",
}


@dataclass(frozen=True)
class SiteRecords:
    """The records a recipe uses, as text.

    Attributes:
        train: all training records, in the order of the file.
        heldout: the held-out records that are evaluated, in the order of the file.
        train_set: what the ledger knows the training records by.
        heldout_set: what the ledger knows the evaluated records by.
    """

    train: list[Record]
    heldout: list[Record]
    train_set: DataSet
    heldout_set: DataSet


@dataclass(frozen=True)
class SiteData:
    """The records a recipe uses as the model sees them, by unit of privacy.

    Attributes:
        train: the units that are trained on.
        heldout: the units that are evaluated.
        train_set: what the ledger knows the training records by.
        heldout_set: what the ledger knows the evaluated records by.
        warning: what the site's operator should know of records that cannot be shown to the model, with their first
            lines and none of their text; None if all can.
        remarks: what they should know of the others, see `remarks`.
    """

    train: Population
    heldout: Population
    train_set: DataSet
    heldout_set: DataSet
    warning: str | None = None
    remarks: tuple[str, ...] = ()

    @property
    def truncated(self) -> int:
        """How many examples were cut to the recipe's `data.max_tokens`."""
        units = [*self.train.units, *self.heldout.units]
        return sum(example.truncated for unit in units for example in unit)


def read_records_of(path: Path, recipe: Recipe) -> SiteRecords:
    """Reads the file and takes what the recipe takes of it. Needs no model.

    Raises:
        DataError: the file cannot be used, see `read_records`, or a record is of a task that is not agreed on.
    """
    split = read_records(path, recipe.data)
    require_tasks(path, [*split.train, *split.heldout], recipe)
    heldout = evaluated(split.heldout, recipe)
    return SiteRecords(split.train, heldout, DataSet.of(split.train), DataSet.of(heldout))


def load_data(path: Path, recipe: Recipe, model: AdaptedModel) -> SiteData:
    """Reads and tokenises what the recipe takes of the file.

    A record that cannot be shown to the model becomes a placeholder, so that no record decides whether a round runs.

    Args:
        path: of a kind and layout that `data.formats` knows.
        recipe: its sections `data` and `privacy` say what is read, and its hash which records are evaluated.
        model: its tokenizer is used, and the sizes of its embedding are kept to.

    Raises:
        DataError: the file cannot be used, or none of its records can be shown to the model.
        ModelError: the model cannot take as many tokens as the recipe shows it, or its chat template shows records
            otherwise than they are meant.
    """
    from sealora_client.data.templates.control import control_names  # here, as counting units needs no torch

    beyond = _beyond_positions(model, recipe)
    records = read_records_of(path, recipe)
    both = [*records.train, *records.heldout]
    _require_sound_template(path, min(record.line for record in both), recipe, model)
    examples = examples_of(both, recipe, model)
    warning = _warning(path, both, examples)
    by_person = recipe.data.unit == "person"

    def population(part: Sequence[Record], own: Sequence[Example]) -> Population:
        return Population.of(own, [record.person for record in part] if by_person else None)

    count = len(records.train)
    return SiteData(
        train=population(records.train, examples[:count]),
        heldout=population(records.heldout, examples[count:]),
        train_set=records.train_set,
        heldout_set=records.heldout_set,
        warning=warning,
        remarks=(*beyond, *remarks(path, both, control_names(model.tokenizer))),
    )


def examples_of(records: Sequence[Record], recipe: Recipe, model: AdaptedModel) -> list[Example]:
    """The records as this model sees them, in order; a placeholder for each that it cannot be shown."""
    from sealora_client.objective.choice import objective_of  # here, because counting units needs no torch

    examples = objective_of(recipe).examples(records, model.tokenizer, recipe.data, _vocabulary(model))
    return weighted(examples, records, recipe)


def _vocabulary(model: AdaptedModel) -> int:
    """Number of tokens that the model can both read and say."""
    base = model.model.get_base_model()
    sizes = [
        getattr(base.get_input_embeddings(), "num_embeddings", None),
        getattr(base.get_output_embeddings(), "out_features", None),
    ]
    return min((size for size in sizes if size is not None), default=len(model.tokenizer))


def _beyond_positions(model: AdaptedModel, recipe: Recipe) -> list[str]:
    """What to say of positions that a model was not taught, if it has them.

    Raises:
        ModelError: where it learned each position there is none beyond the last, and a long record would fail in a
            round.
    """
    config = model.model.get_base_model().config.get_text_config()
    rotary = any(getattr(config, name, None) for name in ("rope_parameters", "rope_scaling", "rope_theta"))
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", None)
    if positions is None or recipe.data.max_tokens <= positions:
        return []
    if rotary:
        return [
            f"data.max_tokens is {recipe.data.max_tokens}, but the base model was taught {positions} positions, and "
            "makes little of tokens beyond: agree on no more than that"
        ]
    raise ModelError(
        f"data.max_tokens is {recipe.data.max_tokens}, but the base model has {positions} positions: agree on no "
        "more tokens than that"
    )


def _require_sound_template(path: Path, first: int, recipe: Recipe, model: AdaptedModel) -> None:
    from sealora_client.data.templates.choice import template_of  # here, as counting units needs no torch
    from sealora_client.data.templates.soundness import ModelTokens, fault_of

    template = template_of(model.tokenizer, recipe.data)
    turns = recipe.data.learned_turns if recipe.data.layout == "messages" else None
    fault = fault_of(template, ModelTokens(model.end_ids, _vocabulary(model)), recipe.data.max_tokens, turns)
    if fault is not None:
        raise ModelError(f"{path}, line {first} and all others: the {template.name} of {recipe.model.base} {fault}")


def _warning(path: Path, records: Sequence[Record], examples: Sequence[Example]) -> str | None:
    """One sentence on the placeholders.

    Raises:
        DataError: there is nothing else.
    """
    lines: dict[Unusable, list[int]] = {}
    for record, example in zip(records, examples, strict=True):
        if example.unusable is not None:
            lines.setdefault(example.unusable, []).append(record.line)
    if not lines:
        return None
    whys = "; ".join(f"{_REASONS[reason]} ({listed(places)})" for reason, places in lines.items())
    count = sum(map(len, lines.values()))
    if count == len(records):
        raise DataError(
            f"{path}: none of the {count} records can be shown to the model, {whys}: use a base model whose tokenizer "
            "and chat template take such text, or correct the records"
        )
    return (
        f"{path}: {count} of {len(records)} records ({count / len(records):.1%}) teach and measure nothing, {whys}: "
        "correct or drop them"
    )
