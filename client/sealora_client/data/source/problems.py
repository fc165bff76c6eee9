"""All that is wrong with a site's data at once: a person who mends it should not have to ask once for each mistake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sealora_client.data.formats.kind import RowError
from sealora_client.data.source.places import Places
from sealora_common.errors import DataError
from sealora_common.show.safe_text import LONGEST

MOST_SENTENCES = 20
MOST_PROBLEMS = 100_000
"""With more, the data are something else than they are taken for, and reading on tells nothing new."""
_MOST_KINDS = 1000
_MOST_PLACES = 6


class DataProblemsError(DataError):
    """Several problems. As a text, as many as fit on one line.

    Attributes:
        sentences: one for each kind of problem, `MOST_SENTENCES` at most, and one for what is left out.
    """

    def __init__(self, sentences: Sequence[str], count: int) -> None:
        shown = list(sentences)
        head = f"{count} problems: "
        line = head + "; ".join(shown)
        while len(line) > LONGEST and len(shown) > 1:
            shown.pop()
            line = f"{head}{'; '.join(shown)}; and more"
        super().__init__(line)
        self.sentences = tuple(sentences)


def sentences_of(error: DataError) -> tuple[str, ...]:
    """What is wrong, one sentence a problem."""
    return error.sentences if isinstance(error, DataProblemsError) else (str(error),)


@dataclass
class _Kind:
    """Rows of which the same is wrong."""

    first: DataError
    count: int = 1
    others: list[int] = field(default_factory=list)


class Problems:
    """Collects problems while reading goes on. A `Tell`, by its method `tell`.

    Args:
        places: where rows stand.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._kinds: dict[str, _Kind] = {}
        self._count = 0

    def __len__(self) -> int:
        """Number of problems."""
        return self._count

    def tell(self, error: DataError) -> None:
        """Takes one; those that differ in nothing but their row are one kind.

        Raises:
            DataProblemsError: it is the last that is taken.
        """
        if isinstance(error, DataProblemsError):  # ours, on its way out through a reader
            raise error
        self._count += 1
        reason = error.reason if isinstance(error, RowError) else str(error)
        kind = self._kinds.get(reason)
        if kind is None:
            if len(self._kinds) < _MOST_KINDS:
                self._kinds[reason] = _Kind(error)
        else:
            kind.count += 1
            if isinstance(error, RowError) and len(kind.others) < _MOST_PLACES:
                kind.others.append(error.line)
        if self._count == MOST_PROBLEMS:
            self.raise_any()

    def raise_any(self) -> None:
        """Ends here if there was any.

        Raises:
            DataError: the one problem, or all of them.
        """
        if not self._kinds:
            return
        kinds = list(self._kinds.values())
        if len(self) == 1:
            raise kinds[0].first
        sentences = [self._sentence(kind) for kind in kinds[:MOST_SENTENCES]]
        left = len(self) - sum(kind.count for kind in kinds[:MOST_SENTENCES])
        if left:
            sentences.append(f"and {left} more")
        if self._count == MOST_PROBLEMS:
            sentences.append("there reading ended: correct these first")
        raise DataProblemsError(sentences, len(self))

    def _sentence(self, kind: _Kind) -> str:
        if kind.count == 1:
            return str(kind.first)
        return f"{kind.first} (so too {self._places.first_listed(kind.others, kind.count - 1)})"
