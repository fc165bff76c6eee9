"""The mark of an adapter that a site has trained for itself: it must not leave, and says so where it lies."""

from __future__ import annotations

from pathlib import Path

from sealora_common.config import CONFIGURATION, from_json, read_file, why_not
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.records.record import FiniteOrNone, WrittenRecord

PERSONAL = "personal.json"
"""In the directory of such an adapter, and in `adapter/` there, which may be copied without the rest."""
MUST_NOT_LEAVE = (
    "this adapter was trained on with this site's records without privacy: it must not leave, and nothing bounds what "
    "it tells of a record"
)


class PersonalAdapter(WrittenRecord):
    """What `personal.json` holds. LOCAL: its figures are exact."""

    must_not_leave: str = MUST_NOT_LEAVE
    site: str
    began_with: str
    """SHA-256 of the adapter that it was trained on from: the run's, or the recipe's first."""
    is_alone: bool = False
    """Whether that was the recipe's first: it shows what the site's own records teach without the federation."""
    run: str | None
    steps: int
    learning_rate: float
    units: int
    """Records (persons) that it was trained on."""
    heldout_before: FiniteOrNone
    """The site's own held-out figure of the adapter that it began with; null where it holds nothing out."""
    heldout_after: FiniteOrNone


def is_personal(directory: Path) -> bool:
    """Whether the adapter in a directory, or in `adapter/` there, is one of these."""
    return any((place / PERSONAL).exists() for place in (directory, directory / "adapter"))


def read_personal(directory: Path) -> PersonalAdapter:
    """The mark in a directory.

    Raises:
        PolicyError: there is none, or it cannot be read.
    """
    path = directory / PERSONAL
    try:
        return from_json(PersonalAdapter, read_file(path, CONFIGURATION.longest), CONFIGURATION)
    except FileNotFoundError:
        raise PolicyError(
            f"{directory}: holds no adapter that this site trained for itself: make one with sealora-site personalise"
        ) from None
    except (OSError, UnreadableError) as error:
        raise PolicyError(f"{path}: cannot be read ({why_not(error)}): make the adapter once more") from None


def require_not_personal(directory: Path) -> None:
    """Refuses to make anything for others of what is in a directory.

    Raises:
        PolicyError: it is such an adapter.
    """
    if is_personal(directory):
        raise PolicyError(f"{directory}: {MUST_NOT_LEAVE}: hand on the adapter of the run itself")
