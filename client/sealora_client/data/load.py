"""From a site's data to what its rounds work on: the one path that every reader of records takes.

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
from sealora_client.data.remarks import remarks
from sealora_client.data.selection import evaluated
from sealora_client.data.source.places import Places
from sealora_client.data.spool import Excerpt, Joined, Spool
from sealora_client.data.tasks import is_weighed, weighted
from sealora_common.errors import ModelError
from sealora_common.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sealora_client.model.adapted import AdaptedModel

UNUSABLE_REASONS: dict[Unusable, str] = {
    "prompt_template": "data.prompt_template fails on them, or makes nothing of them",
    "unnamed": "data.labels does not name their labels",
    "task": "objective.task_weights does not name their tasks",
    "template": "the chat template fails on them",
    "altered": "the chat template changes their texts: white space at the ends, or markup that it rewrites",
    "tokenizer": "the tokenizer fails on them",
    "prompt": "nothing of their prompts is left as tokens",
    "response": "nothing of their responses is left as tokens",
    "label": "their labels are other tokens after their texts than after others",
    "vocabulary": "the tokenizer makes tokens of them that the model has no embedding for",
}
"""Why a record is a placeholder, of several of them, in a sentence."""
_BLOCK_RECORDS = 8192
_BLOCK_CHARACTERS = 1 << 24
"""What is in memory as text while it is tokenised."""
_EXAMPLE_BYTES = 256
"""What an example takes besides its tokens, more or less."""


@dataclass(frozen=True)
class SiteRecords:
    """The records a recipe uses, as text.

    Attributes:
        train: all training records, in the order of the file.
        heldout: the held-out records that are evaluated, in the order of the file.
        train_set: what the ledger knows the training records by.
        heldout_set: what the ledger knows the evaluated records by.
        places: where they stand, by their lines.
    """

    train: Sequence[Record]
    heldout: Sequence[Record]
    train_set: DataSet
    heldout_set: DataSet
    places: Places


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
        truncated: how many examples were cut to the recipe's `data.max_tokens`.
        teaches: whether any record can be shown to the model.
    """

    train: Population
    heldout: Population
    train_set: DataSet
    heldout_set: DataSet
    warning: str | None = None
    remarks: tuple[str, ...] = ()
    truncated: int = 0
    teaches: bool = True


def read_records_of(path: Path, recipe: Recipe) -> SiteRecords:
    """Reads the file and takes what the recipe takes of it. Needs no model.

    Raises:
        DataError: the file cannot be used, see `read_records`.
    """
    split = read_records(path, recipe.data)
    heldout = evaluated(split.heldout, recipe)
    return SiteRecords(split.train, heldout, DataSet.of(split.train), DataSet.of(heldout), split.places)


def load_data(path: Path, recipe: Recipe, model: AdaptedModel) -> SiteData:
    """Reads and tokenises what the recipe takes of a site's data, which may be larger than memory (`spool`).

    A record that cannot be shown to the model becomes a placeholder, so that no record decides whether a round runs.

    Args:
        path: a file, a saved data set's directory, or a description, see `source`.
        recipe: its sections `data` and `privacy` say what is read, and its hash which records are evaluated.
        model: its tokenizer is used, and the sizes of its embedding are kept to.

    Raises:
        DataError: the file cannot be used.
        ModelError: the model cannot take as many tokens as the recipe shows it, or its chat template shows records
            otherwise than they are meant.
    """
    from sealora_client.data.templates.control import control_names  # here, as counting units needs no torch

    beyond = _beyond_positions(model, recipe)
    records = read_records_of(path, recipe)
    both = Joined(records.train, records.heldout)
    _require_sound_template(records.places.of(min(records.train[0].line, records.heldout[0].line)), recipe, model)
    tokenised = _Tokenised(both, recipe, model)
    count = len(records.train)
    return SiteData(
        train=tokenised.population(0, count),
        heldout=tokenised.population(count, len(both)),
        train_set=records.train_set,
        heldout_set=records.heldout_set,
        warning=_warning(path, records.places, tokenised.unusable, len(both)),
        remarks=(*beyond, *remarks(path, records.places, both, control_names(model.tokenizer))),
        truncated=tokenised.truncated,
        teaches=sum(map(len, tokenised.unusable.values())) < len(both),
    )


class _Tokenised:
    """Records as the model sees them, a block of them in memory at a time.

    Attributes:
        unusable: lines of those that are placeholders, by why.
        truncated: how many were cut.
    """

    def __init__(self, records: Sequence[Record], recipe: Recipe, model: AdaptedModel) -> None:
        from sealora_client.data.examples import blocks  # here, because counting units needs no torch

        self.unusable: dict[Unusable, list[int]] = {}
        self.truncated = 0
        self._examples = Spool[Example]()
        self._persons: list[str] | None = [] if recipe.data.unit == "person" else None
        names: dict[str, str] = {}  # so that a person's name is in memory once
        for block in blocks(records, _BLOCK_RECORDS, _BLOCK_CHARACTERS):
            for record, example in zip(block, examples_of(block, recipe, model), strict=True):
                self._examples.append(example, _size(example))
                self.truncated += example.truncated
                if example.unusable is not None:
                    self.unusable.setdefault(example.unusable, []).append(record.line)
                if self._persons is not None:
                    person = record.person or ""
                    self._persons.append(names.setdefault(person, person))
        self._examples.close()

    def population(self, start: int, stop: int) -> Population:
        """The units of the examples from `start` on and before `stop`."""
        persons = None if self._persons is None else self._persons[start:stop]
        return Population.of(Excerpt(self._examples, start, stop), persons)


def _size(example: Example) -> int:
    return sum(_EXAMPLE_BYTES + one.tokens.nbytes for piece in example.pieces for one in piece.sequences)


def examples_of(records: Sequence[Record], recipe: Recipe, model: AdaptedModel) -> list[Example]:
    """The records as this model sees them, in order; a placeholder for each that it cannot be shown."""
    return examples_with(records, recipe, model.tokenizer, _vocabulary(model))


def examples_with(
    records: Sequence[Record], recipe: Recipe, tokenizer: PreTrainedTokenizerBase, vocabulary: int
) -> list[Example]:
    """As `examples_of`, for a model of this tokenizer with so many tokens."""
    from sealora_client.objective.choice import objective_of  # here, because counting units needs no torch

    reasons = [against_recipe(record, recipe) for record in records]
    sound = [record for record, reason in zip(records, reasons, strict=True) if reason is None]
    made = iter(weighted(objective_of(recipe).examples(sound, tokenizer, recipe.data, vocabulary), sound, recipe))
    return [next(made) if reason is None else Example.placeholder(reason) for reason in reasons]


def against_recipe(record: Record, recipe: Recipe) -> Unusable | None:
    """Why the recipe's own rules leave nothing of the record to show, whatever the model is; None if they do not."""
    if record.unusable is not None:
        return record.unusable
    return None if is_weighed(record, recipe) else "task"


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
    virtual, written = recipe.virtual_tokens, recipe.evaluation.decoded_tokens
    if positions is None or recipe.data.max_tokens + virtual + written <= positions:
        return []
    asked = f"{recipe.data.max_tokens}" + (f" and prompt_tuning.virtual_tokens {virtual}" if virtual else "")
    asked += f" and evaluation.max_new_tokens {written}" if written else ""
    if rotary:
        return [
            f"data.max_tokens is {asked}, but the base model was taught {positions} positions, and "
            "makes little of tokens beyond: agree on no more than that"
        ]
    raise ModelError(
        f"data.max_tokens is {asked}, but the base model has {positions} positions: agree on no more tokens than that"
    )


def _require_sound_template(first: str, recipe: Recipe, model: AdaptedModel) -> None:
    from sealora_client.data.templates.choice import template_of  # here, as counting units needs no torch
    from sealora_client.data.templates.soundness import ModelTokens, fault_of

    template = template_of(model.tokenizer, recipe.data)
    turns = recipe.data.learned_turns if recipe.data.layout == "messages" else None
    fault = fault_of(template, ModelTokens(model.end_ids, _vocabulary(model)), recipe.data.max_tokens, turns)
    if fault is not None:
        raise ModelError(f"{first} and all others: the {template.name} of {recipe.model.base} {fault}")


def _warning(path: Path, places: Places, unusable: dict[Unusable, list[int]], records: int) -> str | None:
    """One sentence on the placeholders among so many records.

    Where there is nothing else, that is no error here: a recipe whose rules leave nothing but one record would learn
    from it whether the site holds that record. `sealora-site check`, `sealora-site data check` and simulations fail on
    it.
    """
    if not unusable:
        return None
    whys = "; ".join(f"{UNUSABLE_REASONS[reason]} ({places.listed(own)})" for reason, own in unusable.items())
    count = sum(map(len, unusable.values()))
    if count == records:
        return (
            f"{path}: none of the {count} records teaches or measures anything, {whys}: use a base model whose "
            "tokenizer and chat template take such text, or correct the records"
        )
    return (
        f"{path}: {count} of {records} records ({count / records:.1%}) teach and measure nothing, {whys}: "
        "correct or drop them"
    )
