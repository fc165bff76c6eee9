"""One demand of a document, and what answers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Need = Literal["privacy", "finished", "receipts", "parts", "statements", "audits", "memorisation", "licence"]
"""What a dossier may or may not have, on which an answer depends."""

LACKING: dict[Need, str] = {
    "privacy": "This run had no differential privacy that holds.",
    "finished": "The run did not come to its end.",
    "receipts": "The receipts do not hold, or there are none.",
    "parts": "Not every site's part is here.",
    "statements": "Not every site has described its data in its own words.",
    "audits": "Not every site's part holds an audit.",
    "memorisation": "No memorisation test of this recipe is here.",
    "licence": "The base model's licence is not stated.",
}


@dataclass(frozen=True)
class Demand:
    """A demand.

    Attributes:
        reference: its number in the document; empty where it has none that we are sure of.
        demand: what is asked for, in our words.
        where: sections of the dossier that answer it; empty if none does.
        needs: without which they do not.
        gap: what is missing whatever the run was like; empty if nothing is.
    """

    reference: str
    demand: str
    where: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    gap: str = ""


@dataclass(frozen=True)
class DemandDocument:
    """A document and its demands.

    Attributes:
        title: its own.
        about: what it is and what we took of it.
        demands: in its order, as far as it has one.
    """

    title: str
    about: str
    demands: tuple[Demand, ...]
