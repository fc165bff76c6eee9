"""Which cases of a parametrised test `make test` asks: the quick ones; all the others are `make test-slow`'s.

@pytest.mark.parametrize("case", quick_cases(BAD, "an unknown key"))
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def quick_cases(cases: Iterable[Any], *quick: Any) -> list[Any]:
    """Cases of a parametrised test, in their order: those that `quick` does not name are marked slow.

    Raises:
        ValueError: if `quick` names none, or one that is no case.
    """
    every = list(cases)
    unknown = [case for case in quick if case not in every]
    if unknown or not quick:
        raise ValueError(f"no such cases: {unknown} of {every}")
    # A case of several arguments is a tuple.
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=() if case in quick else pytest.mark.slow)
        for case in every
    ]
