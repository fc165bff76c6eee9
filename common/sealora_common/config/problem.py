"""What is wrong with a value, in one sentence: the first thing that its model says."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import cast

from pydantic import BaseModel, ValidationError

from sealora_common.errors import UnreadableError
from sealora_common.show.safe_text import safe_text

_LONGEST_PART = 80
_MOST_PARTS = 12


def first_problem(error: ValidationError, whole: str, model: type[BaseModel] | None = None) -> str:
    """The first thing wrong with what a person wrote: the field, what is wrong and what to do.

    Args:
        error: what the model said.
        whole: what to call the whole, where no field of it is wrong; may be empty.
        model: whose fields an unknown key is compared with.
    """
    problems = error.errors(include_url=False)
    first = problems[0]
    location = tuple(first["loc"])
    field = _field(_without_tags(location)) or whole
    # Where a field takes one of several kinds of value, each of them has its say on what it found.
    alternatives = [one for one in problems if _without_tags(one["loc"]) == _without_tags(location)]
    others = len(problems) - len(alternatives)
    more = f" ({others} more below it)" if others else ""
    if first["type"] == "extra_forbidden":
        return f"{field}: unknown key{_suggestion(location, model)}: correct or remove it{more}"
    if first["type"] == "missing":
        return f"{field}: missing: add it{more}"
    said = [_in_yaml(str(one["msg"]).removeprefix("Value error, ")) for one in alternatives]
    message = ", or ".join(dict.fromkeys([said[0], *(_lower_first(each) for each in said[1:])]))
    if not location:
        return f"{field}: {message}{more}" if field else f"{message}{more}"
    found = repr(first["input"])
    # A rule on a whole section has a sentence that names what is wrong in it; some others quote what they found.
    if first["type"] == "value_error" and (isinstance(first["input"], dict) or found in message):
        return f"{field}: {_lower_first(message)}{more}"
    return f"{field}: {safe_text(found, _LONGEST_PART)} will not do: {_lower_first(message)}{more}"


def first_reason(error: ValidationError) -> UnreadableError:
    """The first thing wrong with what a program wrote: the field, if it is in one, and what is wrong."""
    first = error.errors(include_url=False, include_input=False)[0]
    return UnreadableError(str(first["msg"]).removeprefix("Value error, "), field=_field(first["loc"]))


def _field(location: Sequence[str | int]) -> str:
    return ".".join(safe_text(str(part), _LONGEST_PART) for part in location[:_MOST_PARTS])


def _without_tags(location: Sequence[str | int]) -> list[str | int]:
    return [part for part in location if not _is_union_tag(part)]


def _is_union_tag(part: str | int) -> bool:
    return isinstance(part, str) and ("[" in part or part in {"tuple", "float"} or part.startswith("constrained-"))


def _suggestion(location: Sequence[str | int], model: type[BaseModel] | None) -> str:
    for part in location[:-1]:
        field = model.model_fields.get(str(part)) if model else None
        annotation = field.annotation if field else None
        is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        model = cast(type[BaseModel], annotation) if is_section else None
    wanted = str(location[-1])[:_LONGEST_PART]
    close = difflib.get_close_matches(wanted, model.model_fields if model else (), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _in_yaml(message: str) -> str:
    """The sentence with the words of whoever writes YAML, in place of Python's."""
    message = re.sub(r"valid dictionary( or instance of \w+)?", "mapping", message)
    return re.sub(r"valid (tuple|list)", "list", message)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
