"""What turning records into examples, and a prompt into a completion, asks of a template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Protocol

from sealora_client.data.example import Unusable
from sealora_client.data.record import Record
from sealora_common.errors import DataError


@dataclass(frozen=True)
class Shown:
    """A record as tokens, whole, in two parts that follow each other.

    Attributes:
        given: token ids of what the model is given before the response; loss is taken on none but `earlier`.
        learned: of what it is to say, with what ends a turn, so that it learns to stop; loss is taken on all of them.
        head: so many of the given ones, at the beginning, are the template's and the system prompt's.
        tail: so many of them, at the end, are the template's. Between the two stands the record's prompt.
        earlier: stretches (start, stop) of the given ones that are learned as well: responses to earlier prompts.
    """

    given: list[int]
    learned: list[int]
    head: int
    tail: int
    earlier: tuple[tuple[int, int], ...] = ()

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.given) + len(self.learned)

    @property
    def frame(self) -> int:
        """How many of the tokens that are given are no part of the record's prompt."""
        return self.head + self.tail


class Template(Protocol):
    """What stands around texts for one tokenizer. What it makes of one text depends on no other.

    Attributes:
        name: what a sentence calls it.
    """

    name: ClassVar[str]

    def prompts(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of each prompt up to where the model's response begins.

        Raises:
            UnusableError: the template or the tokenizer fails on one of them.
        """

    def shown(self, records: Sequence[Record]) -> list[Shown]:
        """Each record as the model is trained on it, in order.

        What is given is what `prompts` gives for its prompt, if there are no earlier turns.

        Raises:
            UnusableError: the template or the tokenizer fails on one of them.
        """


class UnusableError(DataError):
    """The template or the tokenizer failed, on one of the texts at least."""

    def __init__(self, reason: Unusable) -> None:
        fault = "template alters" if reason == "altered" else f"{reason} fails on"
        super().__init__(f"the base model's {fault} a text: change the text, or use another base model")
        self.reason = reason


@contextmanager
def blaming(reason: Unusable) -> Iterator[None]:
    """Whatever goes wrong within has this reason, be it an error of Python or a panic of the tokenizer's Rust."""
    try:
        yield
    except UnusableError:  # has its reason
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__module__ != "pyo3_runtime":
            raise  # a wish to stop
        raise UnusableError(reason) from error
