"""The part of docs/python.md on every name, made from the docstrings: `python -m sealora.reference`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Final

import sealora
from sealora_common.show.say import say

_ORDER: Final = (
    "load_recipe", "simulate", "read_run", "Run", "compare", "ArmComparison", "plan", "RunPlan", "load_adapter",
    "TrainedModel",
)  # fmt: skip
_TITLE: Final = "## Every name"
_HEAD: Final = f"""{_TITLE}

Made from the docstrings by `make reference`. `Recipe` is the recipe itself, with all fields of [recipe.md](recipe.md)
as attributes; `SealoraError` is what every error here is, `str(error)` its sentence; `__version__` is the version.
"""
_PARTS: Final = ("Args", "Attributes", "Returns", "Raises")


def reference() -> str:
    """That part, as Markdown."""
    return "\n".join([_HEAD, *(line for name in _ORDER for line in _described(name))]).rstrip() + "\n"


def _described(name: str) -> Iterator[str]:
    found = getattr(sealora, name)
    if not inspect.isclass(found):
        yield from (f"### `{name}{_signature(found)}`", "", *_markdown(found.__doc__))
        return
    yield from (f"### `{name}`", "", *_markdown(found.__doc__))
    for member, value in vars(found).items():
        if member.startswith("_"):
            continue
        is_value = not inspect.isfunction(value)
        yield f"#### `{name}.{member}`" if is_value else f"#### `{name}.{member}{_signature(value)}`"
        yield from ("", *_markdown(value.__doc__))


def _signature(function: Callable[..., object]) -> str:
    """The parameters as they are called, with their defaults and without types, which the text tells."""
    signature = inspect.signature(function)
    own = [each.replace(annotation=each.empty) for each in signature.parameters.values() if each.name != "self"]
    return str(signature.replace(parameters=own, return_annotation=signature.empty))


def _markdown(docstring: str | None) -> Iterator[str]:
    """The paragraphs, with a list in place of each part that names arguments, attributes or errors."""
    for block in inspect.cleandoc(docstring or "").split("\n\n"):
        head, _, rest = block.partition("\n")
        if head.rstrip(":") not in _PARTS or not head.endswith(":"):
            yield from (_one_line(block), "")
            continue
        yield from (f"{head}", "")
        for item in re.split(r"\n(?=\S)", inspect.cleandoc(rest)):
            name, colon, said = _one_line(item).partition(": ")
            yield f"- `{name}`: {said}" if colon and name.replace("_", "").isalnum() else f"- {name}{colon}{said}"
        yield ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    say(reference().rstrip(), lines=True)
