"""The page of a recipe's fields is what the schema says, and every field says what it means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from sealora_common.recipe import Recipe
from sealora_common.recipe.reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "recipe.md"
ROWS = [line for line in reference().splitlines() if line.startswith("| `")]


def sections(kind: type[BaseModel]) -> list[type[BaseModel]]:
    """The model and all models that its fields may hold."""
    found = [kind]
    for field in kind.model_fields.values():
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                found += sections(inner)
    return found


def test_the_page_is_made_from_the_schema():
    assert PAGE.read_text(encoding="utf-8") == reference().rstrip() + "\n", "run `make reference`"


def test_every_field_is_on_it_once_for_each_section_that_has_it():
    named = [re.match(r"\| `(\w+)`", row)[1] for row in ROWS]
    fields = [
        name
        for kind in sections(Recipe)
        for name, field in kind.model_fields.items()
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel))
    ]
    assert sorted(named) == sorted(fields)


@pytest.mark.parametrize("row", ROWS)
def test_every_field_says_what_it_takes_what_it_is_otherwise_and_what_it_means(row):
    _, name, takes, default, meaning, _ = re.split(r"(?<!\\)\|", row)
    assert all(part.strip() for part in (takes, default)), name
    assert len(meaning.strip()) > 20, f"{name} has no docstring under it"


@pytest.mark.parametrize(
    "row",
    [
        "| `rounds` | whole number from `1` to `100000` | required |",
        "| `max_tokens` | whole number from `8` to `131072` | `512` |",
        "| `sample_rate` | number above `0` to `1` | `0.05` |",
        "| `template_date` | date or `null` | `null` |",
        "| `target_modules` | `all-linear` or list of text | `all-linear` |",
        "| `fields` | mapping | `{}` |",
        "| `early_stopping` | mapping or `null` | `null` |",
    ],
)
def test_ranges_and_defaults_are_said_in_words(row):
    assert any(found.startswith(row) for found in ROWS)
