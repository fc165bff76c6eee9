"""Reading a recipe from YAML, with overrides from the command line and errors a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, ValidationError

from sealora_common.errors import RecipeError
from sealora_common.recipe.schema import Recipe


def load_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Reads the recipe at `path` and applies `key.path=value` overrides.

    Relative paths under `sites.simulated`, and a relative `model.base` that is a directory beside the recipe,
    stay as written: they are looked up from the working directory.

    Raises:
        RecipeError: the file is missing or not YAML, a key is unknown, or a value is out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe: give the path of a YAML file, see configs/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read ({error}): give the path of a UTF-8 YAML file") from None
    return parse_recipe(text, where=str(path), overrides=overrides)


def parse_recipe(text: str, *, where: str = "recipe", overrides: Iterable[str] = ()) -> Recipe:
    """Parses a recipe from YAML text; `where` names it in errors.

    Raises:
        RecipeError: as for `load_recipe`.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise RecipeError(f"{where}{line}: {problem}: correct the YAML there") from None
    if not isinstance(value, dict):
        raise RecipeError(
            f"{where}: a recipe is a YAML mapping of sections, found {type(value).__name__}: see configs/"
        )
    for override in overrides:
        _apply_override(value, override)
    try:
        return Recipe.model_validate(value)
    except ValidationError as error:
        raise RecipeError(_first_problem(where, error)) from None


def _apply_override(value: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise RecipeError(f"override {override!r} is not of the form key.path=value, for example privacy.epsilon=4")
    try:
        new = yaml.safe_load(text)
    except yaml.YAMLError:
        raise RecipeError(f"override {override!r}: the value is not YAML: quote it") from None
    section = value
    for key in keys[:-1]:
        inner = section.setdefault(key, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"override {override!r}: {key!r} is a value, not a section: shorten the key path")
        section = inner
    section[keys[-1]] = new


def _first_problem(where: str, error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    first = problems[0]
    location = tuple(first["loc"])
    field = ".".join(str(part) for part in location if not _is_union_tag(part))
    field = field if field.isprintable() else repr(field)
    more = f" ({len(problems) - 1} more below it)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{where}: {field}: unknown key{_suggestion(location)}: correct or remove it{more}"
    if first["type"] == "missing":
        return f"{where}: {field}: missing: add it{more}"
    message = str(first["msg"]).removeprefix("Value error, ")
    if not field:
        return f"{where}: {message}{more}"
    if first["type"] == "value_error" and isinstance(first["input"], dict):
        # A rule on a whole section, whose sentence names what is wrong in it.
        return f"{where}: {field}: {_lower_first(message)}{more}"
    return f"{where}: {field}: {first['input']!r} will not do: {_lower_first(message)}{more}"


def _is_union_tag(part: str | int) -> bool:
    return isinstance(part, str) and ("[" in part or part in {"tuple", "float", "constrained-str"})


def _suggestion(location: Sequence[str | int]) -> str:
    model: type[BaseModel] | None = Recipe
    for part in location[:-1]:
        field = model.model_fields.get(str(part)) if model else None
        annotation = field.annotation if field else None
        is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        model = cast(type[BaseModel], annotation) if is_section else None
    close = difflib.get_close_matches(str(location[-1]), model.model_fields if model else (), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
