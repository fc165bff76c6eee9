"""Weakened copies of a rule of the sealing, so that an attack is known to bite: it must succeed against the copy and
fail against the code. A copy is made from the source with one rule replaced; a rule that is no longer there fails.
"""

from __future__ import annotations
import __future__

import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

Rule = tuple[str, str]
"""A piece of source, and what stands there instead in the weakened copy."""


def weakened(original: type, **rules: Rule | list[Rule]) -> type:
    """A subclass of `original` in which each named method has had its rule replaced."""
    methods = {
        name: _rewritten(getattr(original, name), [rule] if isinstance(rule, tuple) else rule)
        for name, rule in rules.items()
    }
    return type(f"Weakened{original.__name__}", (original,), methods)


def weakened_function(original: Callable[..., Any], *rules: Rule) -> Callable[..., Any]:
    """A copy of a function with rules replaced; a test patches it in where the function is used."""
    return _rewritten(original, list(rules))


def weaken(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *rules: Rule) -> None:
    """Replaces rules in a method or a property of a class for the time of a test, wherever the class is used."""
    original = inspect.getattr_static(owner, name)
    if isinstance(original, property):
        assert original.fget is not None
        monkeypatch.setattr(owner, name, property(_rewritten(original.fget, list(rules))))
    else:
        monkeypatch.setattr(owner, name, _rewritten(original, list(rules)))


def weaken_everywhere(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any], *rules: Rule) -> None:
    """Replaces rules in a function for the time of a test, in every module of the protocol that uses it."""
    instead = weakened_function(function, *rules)
    for name, module in list(sys.modules.items()):
        if name.startswith("sealora_common.secagg") and getattr(module, function.__name__, None) is function:
            monkeypatch.setattr(module, function.__name__, instead)


def _rewritten(function: Callable[..., Any], rules: list[Rule]) -> Callable[..., Any]:
    source = textwrap.dedent(inspect.getsource(function)).removeprefix("@property\n")
    for rule, instead in rules:
        assert source.count(rule) == 1, f"the rule {rule!r} is not in {function.__qualname__} as this test knows it"
        source = source.replace(rule, instead)
    flags = __future__.annotations.compiler_flag
    code = compile(source, f"<weakened {function.__qualname__}>", "exec", flags=flags, dont_inherit=True)
    made: dict[str, Any] = {}
    exec(code, sys.modules[function.__module__].__dict__, made)  # noqa: S102
    rewritten: Callable[..., Any] = made[function.__name__]
    return rewritten
