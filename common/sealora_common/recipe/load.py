"""Reading a recipe from YAML, with overrides from the command line and errors a person can act on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from sealora_common.config import CONFIGURATION, YamlValue, checked, read_file, why_not, yaml_value
from sealora_common.errors import RecipeError, UnreadableError
from sealora_common.recipe.schema import Recipe

Overrides = Iterable[str] | Mapping[str, object]
"""`key.path=value` as a person types it, the value as YAML; or key paths and the values themselves."""


def load_recipe(path: Path, overrides: Overrides = ()) -> Recipe:
    """Reads the recipe at `path` and applies overrides.

    Relative paths under `sites.simulated`, and a relative `model.base` that is a directory beside the recipe,
    stay as written: they are looked up from the working directory.

    Raises:
        RecipeError: the file is missing or not YAML, a key is unknown, or a value is out of range.
    """
    try:
        content = read_file(path, CONFIGURATION.longest)
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe: give the path of a YAML file, see configs/") from None
    except (OSError, UnreadableError) as error:
        raise RecipeError(f"{path}: cannot be read ({why_not(error)}): give the path of a UTF-8 YAML file") from None
    return parse_recipe(content, where=str(path), overrides=overrides)


def parse_recipe(content: bytes | str, *, where: str = "recipe", overrides: Overrides = ()) -> Recipe:
    """Parses a recipe from YAML in UTF-8; `where` names it in errors.

    Raises:
        RecipeError: as for `load_recipe`.
    """
    try:
        value = yaml_value(content)
    except UnreadableError as error:
        if error.line is None:
            raise RecipeError(f"{where}: cannot be read ({error}): give the path of a UTF-8 YAML file") from None
        raise RecipeError(f"{where}, {error}: correct the YAML there") from None
    if not isinstance(value, dict):
        raise RecipeError(
            f"{where}: a recipe is a YAML mapping of sections, found {type(value).__name__}: see configs/"
        )
    return recipe_of(value, where=where, overrides=overrides)


def recipe_of(values: Mapping[str, object], *, where: str = "recipe", overrides: Overrides = ()) -> Recipe:
    """Makes a recipe of its sections; `where` names it in errors.

    Args:
        values: section -> field -> value, as a recipe's YAML would give them; left as they are.
        where: what to call them.
        overrides: laid over them.

    Raises:
        RecipeError: as for `load_recipe`.
    """
    own = _sections(values)
    for override in overrides:
        if isinstance(overrides, Mapping):
            _set(own, override.split("."), overrides[override], override)
        else:
            _apply_override(own, override)
    try:
        return checked(Recipe, own, before=f"{where}: ")
    except UnreadableError as error:
        raise RecipeError(str(error)) from None


def _sections(values: Mapping[str, object]) -> dict[str, object]:
    """Copies the mappings in each other, and nothing else, so that overrides change no caller's."""
    return {name: _sections(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def override_of(override: str) -> tuple[list[str], YamlValue]:
    """The keys and the value of an override, `key.path=value`.

    Raises:
        RecipeError: it is not of that form.
    """
    path, equals, text = override.partition("=")
    if not equals:
        raise RecipeError(f"override {override!r} is not of the form key.path=value, for example privacy.epsilon=4")
    keys = path.split(".")
    _require_keys(keys, override)
    try:
        return keys, yaml_value(text)
    except UnreadableError as error:
        raise RecipeError(f"override {override!r}: the value is not YAML: quote it ({error.reason})") from None


def _apply_override(value: dict[str, object], override: str) -> None:
    keys, new = override_of(override)
    _set(value, keys, new, override)


def _require_keys(keys: list[str], override: str) -> None:
    if not all(keys):
        raise RecipeError(f"override {override!r} is not of the form key.path=value, for example privacy.epsilon=4")
    if len(keys) > CONFIGURATION.depth:
        raise RecipeError(f"override {override!r}: no recipe has sections that deep: shorten the key path")


def _set(value: dict[str, object], keys: list[str], new: object, override: str) -> None:
    _require_keys(keys, override)
    section = value
    for key in keys[:-1]:
        inner = section.setdefault(key, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"override {override!r}: {key!r} is a value, not a section: shorten the key path")
        section = inner
    section[keys[-1]] = new
