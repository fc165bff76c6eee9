"""Two recipes share a loaded model only if it serves both: what nobody named as harmless keeps them apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from sealora_client.model.sharing import HARMLESS, sharing_key
from sealora_common.recipe import LoraSection, ModelSection, Recipe, parse_recipe
from sealora_common.recipe.sections.adapter import SECTION_OF_KIND

MINIMAL = "name: test\nrounds: 2\nmodel: {base: some/model}\n"
DIGEST = "ab" * 32

APART = (
    "model.revision=v1",
    "model.quantization=none",
    "model.compute_dtype=float32",
    "model.attention=eager",
    "model.gradient_checkpointing=true",
    "lora.rank=4",
    "lora.alpha=8",
    "lora.dropout=0.5",
    "lora.target_modules=[q_proj]",
    "lora.last_layers=1",
    "lora.scaling=sqrt_rank",
    "lora.layers=[1]",
    "adapter=ia3",
)
TOGETHER = (
    "name=other",
    "rounds=3",
    "model.base=other/place",
    f"model.digest={DIGEST}",
    "lora.aggregation=average",
    "lora.seed=1",
    "data.max_tokens=64",
    "training.learning_rate=1",
    "privacy.epsilon=1",
    "sealing.ring_bits=20",
    "server.momentum=0.5",
    "sites.minimum=4",
)


def key(*overrides: str) -> bytes:
    return sharing_key(parse_recipe(MINIMAL, overrides=overrides), DIGEST)


@pytest.mark.parametrize("override", APART)
def test_recipes_of_different_models_share_none(override: str) -> None:
    assert key(override) != key()


@pytest.mark.parametrize("override", TOGETHER)
def test_recipes_that_differ_in_what_the_model_does_not_depend_on_share_it(override: str) -> None:
    assert key(override) == key()


def test_other_files_are_another_model() -> None:
    recipe = parse_recipe(MINIMAL)
    assert sharing_key(recipe, "cd" * 32) != sharing_key(recipe, DIGEST)


def names(kind: type[BaseModel], harmless: object) -> Iterator[str]:
    """The fields of a section that are in the key."""
    named = harmless if isinstance(harmless, dict) else {}
    return (name for name in kind.model_fields if named.get(name) is not True)


def test_every_field_is_in_the_key_or_named_as_harmless() -> None:
    assert set(names(Recipe, HARMLESS)) == {"model", "adapter", *SECTION_OF_KIND.values()}
    apart = {override.partition("=")[0] for override in APART}
    for section, kind in (("model", ModelSection), ("lora", LoraSection)):
        assert {f"{section}.{name}" for name in names(kind, HARMLESS[section])} <= apart, "add the field to APART"


def test_a_field_or_section_that_nobody_thought_of_keeps_models_apart() -> None:
    class Scaled(LoraSection):
        scaling: str = "plain"

    class Extra(BaseModel):
        layers: int = 0

    class Later(Recipe):
        lora: LoraSection = Scaled()
        extra: Extra = Extra()

    plain = Later.model_validate({"name": "a", "rounds": 1, "model": {"base": "b"}})
    others = [
        plain.model_copy(update={"lora": Scaled(scaling="by rank")}),
        plain.model_copy(update={"extra": Extra(layers=1)}),
    ]
    assert len({sharing_key(recipe, DIGEST) for recipe in (plain, *others)}) == 3
