"""An adapter trained on the site's own records, without privacy: for this site and nobody else.

It begins with the one that a run ended with, or with the recipe's first: what the site's records teach by themselves.

The steps are those of a round without privacy (`training.none`), all of them as one round, so that the optimiser's
moments go through. What comes of it is marked (`sealora_common.export.personal`), and its recipe has
`privacy.mechanism: none`, so that whatever is said of it says that nothing is promised.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from sealora_client.data.load import SiteData, load_data
from sealora_client.evaluation.choice import federation_metric
from sealora_client.model.adapted import AdaptedModel
from sealora_client.site.config import SiteConfig
from sealora_client.trained.offline import require_base
from sealora_client.trained.trained_adapter import TrainedAdapter
from sealora_client.training.choice import training_of
from sealora_common.adapter import adapter_kind
from sealora_common.config import JsonValue, checked
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import DataError, PolicyError, RecipeError, UnreadableError, storage_error
from sealora_common.export.peft_directory import PeftDirectory
from sealora_common.export.personal import PERSONAL, PersonalAdapter
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import Recipe
from sealora_common.records.record import finite
from sealora_common.round.order import shared_digest
from sealora_common.storage.durable import rename_durably, write_atomically
from sealora_common.storage.own_files import make_directory


@dataclass(frozen=True)
class PersonalWish:
    """What is asked.

    Attributes:
        site: the site's directory.
        out: the directory that is made; it must not exist.
        steps: of training.
        learning_rate: of AdamW; None for that of the run's recipe.
        is_alone: whether to begin with the recipe's first adapter and not with the run's.
    """

    site: Path
    out: Path
    steps: int
    learning_rate: float | None = None
    is_alone: bool = False


def personalise(trained: TrainedAdapter, wish: PersonalWish) -> PersonalAdapter:
    """Trains it, and writes adapter, recipe and mark.

    Raises:
        PolicyError: there is something in the place of `out`.
        DataError: the site's records cannot be used.
        ModelError: the base model is not here, or takes no such adapter.
        StorageError: it could not be written; nothing is left of it then.
    """
    if wish.out.exists():
        raise PolicyError(f"{wish.out}: is there already: choose another --out, or move it away")
    require_base(trained.recipe)
    config = SiteConfig.load(wish.site / "site.yaml")
    recipe = personal_recipe(trained.recipe, wish)
    model = AdaptedModel.load(recipe)
    began = adapter_kind(recipe).initial(model.layout) if wish.is_alone else trained.tensors
    model.write({name: began[name] for name in model.layout.names})
    data = load_data(wish.site / config.data, recipe, model)
    if not data.teaches:
        raise DataError(data.warning or f"{wish.site / config.data}: none of its records can be shown to the model")
    before = _heldout(model, data, recipe)
    training_of(recipe).train(  # and leaves what it has trained in the model
        model,
        data.train,
        plan=privacy_plan(recipe, recipe.sites.minimum).training,
        recipe=recipe,
        round_number=1,
        clip_norm=recipe.privacy.clip_norm,
        leave=None,
        entropy=SystemEntropy(),
    )
    made = PersonalAdapter(
        site=config.name,
        began_with=shared_digest(began, recipe),
        is_alone=wish.is_alone,
        run=trained.told.run,
        steps=wish.steps,
        learning_rate=recipe.training.learning_rate,
        units=len(data.train),
        heldout_before=before,
        heldout_after=_heldout(model, data, recipe),
    )
    _write(wish.out, model, recipe, made)
    return made


def personal_recipe(recipe: Recipe, wish: PersonalWish) -> Recipe:
    """The run's recipe as one site trains by it for itself: one round of all steps, nothing clipped or noised.

    Raises:
        RecipeError: the recipe takes no such steps or learning rate.
    """
    whole: dict[str, JsonValue] = recipe.model_dump(mode="json")
    changes: dict[str, dict[str, JsonValue]] = {
        "training": {
            "steps_per_round": wish.steps,
            "epochs": None,
            "optimizer": "adamw",
            "momentum": 0.0,
            "schedule": "constant",
            "warmup_steps": 0,
            "learning_rate": wish.learning_rate or recipe.training.learning_rate,
        },
        "privacy": {"mechanism": "none", "spare_rounds": 0, "target_quantile": None},
        "server": {"early_stopping": None, "keep": "last"},
    }
    for section, values in changes.items():
        inner = whole[section]
        assert isinstance(inner, dict)  # noqa: S101 (a section is a mapping)
        inner.update(values)
    try:
        return checked(Recipe, whole | {"rounds": 1})
    except UnreadableError as error:
        raise RecipeError(f"the run's recipe cannot be trained on by one site: {error}") from None


def _heldout(model: AdaptedModel, data: SiteData, recipe: Recipe) -> float | None:
    """The site's own figure, exact; None where nothing is held out."""
    return finite(federation_metric(recipe).measure(model, data.heldout, recipe).mean) if len(data.heldout) else None


def _write(out: Path, model: AdaptedModel, recipe: Recipe, made: PersonalAdapter) -> None:
    aside = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        make_directory(aside)
        mark = made.model_dump_json(indent=2).encode() + b"\n"
        write_atomically(aside / PERSONAL, mark)  # first
        text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        write_atomically(aside / "recipe.yaml", text.encode())
        PeftDirectory().export(aside / "adapter", model.read(model.layout.names), recipe)
        write_atomically(aside / "adapter" / PERSONAL, mark)
        rename_durably(aside, out)
    except OSError as error:
        raise storage_error(out, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
