"""Whether anything speaks against letting a model leave. Nothing here clears one: people do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import model_validator

from sealora_common.dossier.figure import DossierModel

Standing = Literal["not cleared", "open", "nothing against"]


class Clearance(DossierModel):
    """What was found, as sentences."""

    first_line: str
    """What a reader must know who reads no further. It follows from the rest."""
    against: tuple[str, ...]
    """Each of them alone is a reason not to let the model leave."""
    open_points: tuple[str, ...]
    """What these files leave open, for people to settle."""

    @classmethod
    def of(cls, against: Iterable[str], open_points: Iterable[str]) -> Clearance:
        """With the first line that follows."""
        reasons, points = tuple(against), tuple(open_points)
        return cls(first_line=_first_line(reasons, points), against=reasons, open_points=points)

    @model_validator(mode="after")
    def _says_first_what_follows(self) -> Self:
        if self.first_line != _first_line(self.against, self.open_points):
            raise ValueError("its first line does not follow from what speaks against the model and what is open")
        return self

    @property
    def standing(self) -> Standing:
        """In one word or two."""
        if self.against:
            return "not cleared"
        return "open" if self.open_points else "nothing against"


def _first_line(against: tuple[str, ...], open_points: tuple[str, ...]) -> str:
    if against:
        return f"NOT CLEARED: this model must not leave. {against[0]}"
    if open_points:
        points = "one point is" if len(open_points) == 1 else f"{len(open_points)} points are"
        return f"NOT YET CLEARED: nothing found speaks against this model, and {points} open."
    return "NOT YET CLEARED: nothing found speaks against this model. Whether it may leave is for those who sign."
