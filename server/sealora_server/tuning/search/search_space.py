"""Which values a field is tried at: a range or several values, as a person writes them, or a small range by default."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Final, get_args

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from sealora_common.canonical import canonical_json
from sealora_common.config import checked, yaml_value
from sealora_common.errors import RecipeError, UnreadableError
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe
from sealora_common.recipe.text import FieldValue
from sealora_server.tuning.search.field_value import as_field_value
from sealora_server.tuning.search.searchable import field_of

FORMS: Final = "FIELD=LOW..HIGH, FIELD=LOW..HIGH:log or FIELD=a,b,c"
_RANGE = re.compile(r"(?P<low>.+?)\.\.(?P<high>.+?)(?P<log>:log)?")
_MOST_FIELDS = 20
_SIGNIFICANT = 4
_FACTOR = 4.0
_MOST_MOMENTUM = 0.95
_WITH_MOMENTUM = ("fedavgm", "fedadam", "fedyogi")


@dataclass(frozen=True)
class SearchedRange:
    """Numbers between two ends, both of them among what is tried.

    Attributes:
        field: dotted.
        low: the smaller end.
        high: the larger.
        log: whether all powers of ten between them are as likely as each other, or all numbers.
        whole: whether whole numbers alone are tried.
    """

    field: str
    low: float
    high: float
    log: bool
    whole: bool

    @property
    def text(self) -> str:
        """As it can be given after `--search`."""
        return f"{self.field}={self.low:.12g}..{self.high:.12g}{':log' if self.log else ''}"

    def holds(self, value: FieldValue) -> bool:
        """Whether a value is among those that may be tried."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def rounded(self, drawn: float) -> float:
        """A number that was drawn, with four digits that count."""
        if self.whole:
            return int(drawn)
        return min(self.high, max(self.low, float(f"{drawn:.{_SIGNIFICANT}g}")))


@dataclass(frozen=True)
class SearchedChoice:
    """Several values.

    Attributes:
        field: dotted.
        values: as JSON has them; two or more.
    """

    field: str
    values: tuple[FieldValue, ...]

    @property
    def text(self) -> str:
        """As it can be given after `--search`."""
        return f"{self.field}={','.join(self.names)}"

    @property
    def names(self) -> tuple[str, ...]:
        """A text for each value, by which it is known."""
        return tuple(canonical_json(value).decode().strip('"') for value in self.values)

    def holds(self, value: FieldValue) -> bool:
        """Whether a value is among those that may be tried."""
        return value in self.values


Searched = SearchedRange | SearchedChoice


def search_space(said: Sequence[str], recipe: Recipe) -> tuple[Searched, ...]:
    """What is searched.

    Args:
        said: after each `--search`; if there is none, `default_space`.
        recipe: whose fields they are.

    Raises:
        RecipeError: one of them is no search of a field that may be searched.
    """
    if not said:
        return default_space(recipe)
    space = tuple(_searched(each, recipe) for each in said)
    fields = [each.field for each in space]
    for field in fields:
        if fields.count(field) > 1:
            raise RecipeError(f"--search {field}: it is given twice: give all its values, or one range, at once")
    if len(space) > _MOST_FIELDS:
        raise RecipeError(f"--search is given {len(space)} times: no more than {_MOST_FIELDS} fields are searched")
    return space


def default_space(recipe: Recipe) -> tuple[Searched, ...]:
    """The fields that matter most, of those that the recipe reads, around its own values.

    The learning rate of whoever takes the steps, the server's momentum, the clipping norm and the sampling rate.
    """
    found: list[Searched] = []

    def around(field: str, value: float, factor: float, most: float = math.inf) -> None:
        low, high = (float(f"{end:.2g}") for end in (value / factor, min(most, value * factor)))
        if low < high:
            found.append(SearchedRange(field, low, high, log=True, whole=False))

    mechanism = mechanism_of(recipe)
    if not mechanism.sums_on_grid:
        around("training.learning_rate", recipe.training.learning_rate, 10.0)
    if mechanism.sums_on_grid or recipe.server.optimizer != "fedavg":
        around("server.learning_rate", recipe.server.learning_rate, 10.0)
    if recipe.server.optimizer in _WITH_MOMENTUM:
        found.append(SearchedRange("server.momentum", 0.0, _MOST_MOMENTUM, log=False, whole=False))
    if mechanism.protects:
        around("privacy.clip_norm", recipe.privacy.clip_norm, _FACTOR)
    if recipe.training.epochs is None:
        around("training.sample_rate", recipe.training.sample_rate, _FACTOR, most=1.0)
    return tuple(found)


def _searched(said: str, recipe: Recipe) -> Searched:
    path, equals, values = said.partition("=")
    path, values = path.strip(), values.strip()
    if not equals or not path or not values:
        raise RecipeError(f"--search {said!r} is not of the form {FORMS}")
    field = field_of(path, recipe)
    ends = _RANGE.fullmatch(values)
    if ends is not None:
        return _range(path, field, ends["low"], ends["high"], log=ends["log"] is not None)
    return _choice(path, field, values)


def _range(path: str, field: FieldInfo, low_text: str, high_text: str, *, log: bool) -> SearchedRange:
    kinds = _kinds(field.annotation)
    if not kinds & {int, float}:
        raise RecipeError(
            f"--search {path}: it takes no numbers, so it has no range: give its values, as in {path}=a,b"
        )
    whole = float not in kinds
    low, high = (_number(path, text, whole=whole) for text in (low_text, high_text))
    for end in (low, high):
        _checked_value(path, field, end)
    if not low < high:
        raise RecipeError(f"--search {path}: {low:g}..{high:g} is no range: the smaller number comes first")
    if log and low <= 0:
        raise RecipeError(f"--search {path}: a range with :log begins above 0, and this one at {low:g}: leave :log out")
    return SearchedRange(path, low, high, log, whole)


def _number(path: str, text: str, *, whole: bool) -> float:
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        kind = "whole number" if whole else "number"
        raise RecipeError(f"--search {path}: {text.strip()!r} is no {kind}: give {FORMS}") from None
    if not math.isfinite(number):
        raise RecipeError(f"--search {path}: {text.strip()!r} is no end of a range: give a number that is finite")
    return number


def _choice(path: str, field: FieldInfo, text: str) -> SearchedChoice:
    try:
        values = yaml_value(f"[{text}]")
    except UnreadableError as error:
        raise RecipeError(f"--search {path}: its values cannot be read ({error.reason}): quote them") from None
    assert isinstance(values, list)  # noqa: S101 (what stands in brackets)
    found = [_checked_value(path, field, value) for value in values]
    if len(found) < 2:
        raise RecipeError(
            f"--search {path}: one value is nothing to search: give two or more, or {path}={text} as an override"
        )
    for value in found:
        if sum(canonical_json(value) == canonical_json(each) for each in found) > 1:
            raise RecipeError(f"--search {path}: it names {value} twice: name each value once")
    return SearchedChoice(path, tuple(found))


def _checked_value(path: str, field: FieldInfo, value: object) -> FieldValue:
    """The value as a recipe would have it, if the field takes it by itself."""
    name = path.rpartition(".")[2]
    alone: type[BaseModel] = create_model("Searched", **{name: (field.annotation, copy(field))})  # type: ignore[call-overload]
    try:
        found = checked(alone, {name: value}, before=f"--search {path}: ").model_dump(mode="json")[name]
        return as_field_value(found)
    except UnreadableError as error:
        raise RecipeError(str(error)) from None


def _kinds(annotation: object) -> set[object]:
    """The types that an annotation is made of."""
    inner = get_args(annotation)
    return {annotation} if not inner else set().union(*(_kinds(each) for each in inner if not isinstance(each, str)))
