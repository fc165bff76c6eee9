"""A model from values that a person wrote, with the first thing that is wrong with them in one sentence."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from sealora_common.config.problem import first_problem
from sealora_common.errors import UnreadableError

Model = TypeVar("Model", bound=BaseModel)


def checked(kind: type[Model], value: object, *, before: str = "", whole: str = "") -> Model:
    """The model with these values. All that people write is held to its model here.

    Args:
        kind: the model.
        value: a mapping of its fields.
        before: what the sentence begins with: the file's name, or the dashes of an option.
        whole: what to call the whole, where no field of it is wrong.

    Raises:
        UnreadableError: the values make none.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise UnreadableError(f"{before}{first_problem(error, whole, kind)}") from None
