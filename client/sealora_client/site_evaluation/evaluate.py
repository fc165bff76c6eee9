"""Evaluates the adapter of a kept run, and writes what was found beside it. Nothing is charged, and nothing leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from sealora_client.data.example import Example
from sealora_client.data.load import UNUSABLE_REASONS, examples_of
from sealora_client.data.record import Record
from sealora_client.delivery.kept_run import KeptRun
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.generate import room_after
from sealora_client.site.config import SiteConfig
from sealora_client.site_evaluation.estimates import ModelPair, estimated
from sealora_client.site_evaluation.evaluation import SiteEvaluation
from sealora_client.site_evaluation.intervals import RESAMPLES, SEED
from sealora_client.site_evaluation.measured import RecordValues, asks, measured
from sealora_client.site_evaluation.measures import measures
from sealora_client.site_evaluation.own_adapter import own_adapter
from sealora_client.site_evaluation.records import records_to_evaluate
from sealora_client.site_evaluation.subgroups import by_column
from sealora_client.trained.offline import require_base
from sealora_client.trained.trained_adapter import find_trained
from sealora_common.adapter import Tensors, adapter_kind
from sealora_common.errors import DataError, ModelError, PolicyError
from sealora_common.recipe import Recipe
from sealora_common.records.heldout_figure import loss_unit

_PACKAGES = ("rouge-score", "sacrebleu", "scikit-learn", "sealora", "torch", "transformers")


@dataclass(frozen=True)
class EvaluationWish:
    """What a person asks for.

    Attributes:
        data: other records than those that the run held out.
        columns: that records are told apart by.
        examples: how many are shown.
        most_tokens: of an answer; None for the recipe's.
        beside: directory of an adapter that the site trained for itself, to be measured too.
    """

    data: Path | None = None
    columns: tuple[str, ...] = ()
    examples: int = 0
    most_tokens: int | None = None
    beside: Path | None = None


class JudgedExample(BaseModel):
    """One record, drawn by lot, and what became of it. It is in no file but the page."""

    model_config = ConfigDict(frozen=True)

    prompt: str
    right: str
    adapter: str
    adapter_is_right: bool
    base: str
    base_is_right: bool


@dataclass(frozen=True)
class Evaluated:
    """What was found.

    Attributes:
        evaluation: figures.
        examples: records with their texts.
    """

    evaluation: SiteEvaluation
    examples: tuple[JudgedExample, ...]


def evaluate(kept: KeptRun, wish: EvaluationWish) -> Evaluated:
    """The adapter that the run ended with and the base model, on the same records.

    Args:
        kept: of a site.
        wish: what of it.

    Raises:
        PolicyError: there is no adapter of the run here, or the site's files are damaged, or nothing is to be shown, or
            the one beside it is not the site's own or of another recipe.
        ModelError: the base model is not here, or not the one that the recipe names, or takes no such adapter.
        DataError: the records cannot be used.
    """
    trained = find_trained(kept.run, kept.site)
    recipe, config = trained.recipe, SiteConfig.load(kept.site / "site.yaml")
    if wish.examples and not (asks(recipe) or recipe.objective.kind == "classification"):
        raise PolicyError("--examples shows what is answered, and records of this recipe ask nothing: leave it out")
    own = None if wish.beside is None else own_adapter(wish.beside, kept.site, recipe)
    found = records_to_evaluate(kept.site / config.data, recipe, wish.data, wish.columns)
    require_base(recipe)
    model = AdaptedModel.load(recipe)
    examples = examples_of(found.records, recipe, model)
    places = [place for place, example in enumerate(examples) if example.unusable is None]
    if not places:
        raise DataError(_nothing(examples))
    shown = [examples[place] for place in places]
    records = [found.records[place] for place in places]
    most = _most_tokens(model, recipe, wish.most_tokens)
    try:
        of_adapter = _measured_with(trained.tensors, model, recipe, shown, most)
        of_own = None if own is None else _measured_with(own.tensors, model, recipe, shown, most)
        with _base_model(model, recipe):
            of_base = measured(model, recipe, shown, most)
    except (torch.OutOfMemoryError, MemoryError):
        raise ModelError(
            f"answers to {recipe.training.micro_batch_size} records at a time do not fit this machine's memory: give "
            "fewer --tokens, or use a larger GPU"
        ) from None
    owners = _owners(records)
    unit = loss_unit(recipe)
    of, missing = measures(of_adapter, unit)
    pair = ModelPair(of, measures(of_base, unit)[0], owners, () if of_own is None else measures(of_own, unit)[0])
    evaluation = SiteEvaluation(
        site=config.name,
        run=kept.run,
        recipe=recipe.name,
        recipe_hash=recipe.hash,
        adapter_digest=trained.digest,
        base_digest=model.base_digest,
        beside=None if own is None else own.told,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        source=found.source,
        records=len(records),
        units=int(owners.max()) + 1,
        unit=recipe.data.unit,
        unusable=len(examples) - len(places),
        truncated=sum(example.truncated for example in shown),
        trained_on=found.trained_on,
        answers_cut=None if of_adapter.answers is None else of_adapter.answers.cut,
        max_new_tokens=None if of_adapter.answers is None else most,
        seed=SEED,
        resamples=RESAMPLES,
        figures=estimated(pair, np.arange(len(records))),
        by=tuple(
            by_column(pair, column, [values[place] for place in places]) for column, values in found.columns.items()
        ),
        missing=tuple(missing),
        packages=dict(_installed()),
    )
    return Evaluated(evaluation, tuple(_drawn(wish.examples, records, of_adapter, of_base)))


def _measured_with(
    tensors: Tensors, model: AdaptedModel, recipe: Recipe, shown: Sequence[Example], most: int
) -> RecordValues:
    model.write({name: tensors[name] for name in model.layout.names})
    return measured(model, recipe, shown, most)


@contextmanager
def _base_model(model: AdaptedModel, recipe: Recipe) -> Iterator[None]:
    """The base model as it is. An adapter as a run begins with it changes nothing, but for virtual tokens, which PEFT
    leaves out meanwhile; of other kinds it takes out, by its own way, not quite all (IA3)."""
    model.write(adapter_kind(recipe).initial(model.layout))
    with model.model.disable_adapter() if recipe.virtual_tokens else nullcontext():
        yield


def _nothing(examples: Sequence[Example]) -> str:
    (why, *_) = {example.unusable for example in examples if example.unusable is not None}
    return f"none of the {len(examples)} records can be shown to the model: {UNUSABLE_REASONS[why]}: correct them"


def _most_tokens(model: AdaptedModel, recipe: Recipe, asked: int | None) -> int:
    """Of an answer: as many as the model has positions for after the longest prompt, at the most."""
    most = recipe.evaluation.max_new_tokens if asked is None else asked
    return min(most, room_after(model, recipe.data.max_tokens))


def _owners(records: Sequence[Record]) -> NDArray[np.int64]:
    """Whose each record is, by numbers: its person's, or its own."""
    if any(record.person is None for record in records):
        return np.arange(len(records))
    _, owners = np.unique([record.person for record in records], return_inverse=True)
    return owners.astype(np.int64)


def _drawn(
    count: int, records: Sequence[Record], of_adapter: RecordValues, of_base: RecordValues
) -> Iterator[JudgedExample]:
    places = np.random.default_rng(SEED).permutation(len(records))[:count]
    for place in sorted(places.tolist()):
        right, (said, is_right), (base, base_is_right) = (
            _right(of_adapter, place),
            _said(of_adapter, place),
            _said(of_base, place),
        )
        yield JudgedExample(
            prompt=records[place].prompt,
            right=right,
            adapter=said,
            adapter_is_right=is_right,
            base=base,
            base_is_right=base_is_right,
        )


def _right(values: RecordValues, place: int) -> str:
    if values.answers is not None:
        return values.answers.right[place]
    return "" if values.classes is None else values.classes.words[int(values.classes.right[place])]


def _said(values: RecordValues, place: int) -> tuple[str, bool]:
    if values.answers is not None:
        return values.answers.texts[place], bool(values.answers.exact[place])
    if values.classes is None:
        return "", False
    likeliest, right = int(values.classes.likeliest[place]), int(values.classes.right[place])
    return values.classes.words[likeliest], likeliest == right


def _installed() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue
