"""Which cases of a parametrised test `make test` asks: the quick ones; all the others are `make test-slow`'s.

@pytest.mark.parametrize("case", quick_cases(BAD, "an unknown key"))
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

_Case = type(pytest.param())


def quick_cases(cases: Iterable[Any], *quick: Any) -> list[Any]:
    """Cases of a parametrised test, in their order: those that `quick` does not name are marked slow.

    A case of several arguments is a tuple; one that has marks or an id of its own is named by its arguments.

    Raises:
        ValueError: if `quick` names none, or one that is no case.
    """
    every = [case if isinstance(case, _Case) else pytest.param(*_arguments(case)) for case in cases]
    wanted = [_arguments(case) for case in quick]
    unknown = [case for case in wanted if case not in [tuple(each.values) for each in every]]
    if unknown or not quick:
        raise ValueError(f"no such cases: {unknown} of {every}")
    return [
        case
        if tuple(case.values) in wanted
        else pytest.param(*case.values, marks=(*case.marks, pytest.mark.slow), id=case.id)
        for case in every
    ]


def _arguments(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)
