"""`approval.json` in a run's directory: who asked for the run, who approved it and when, and of exactly what.

What is approved are the bytes of `recipe.yaml` and the roster (all of it but co-signatures). Before each process of a
run both are compared with it, so what was put in their place afterwards does not run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from sealora_common.canonical import canonical_json, digest
from sealora_common.config import CONFIGURATION, SMALL, from_json, read_file, why_not
from sealora_common.errors import StorageError, UnreadableError
from sealora_common.recipe import Recipe
from sealora_common.recipe.load import parse_recipe
from sealora_common.roster import Roster
from sealora_common.storage.durable import write_atomically
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.person import Person

APPROVAL: Final = "approval.json"
_SHOWN = 12
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_Sha256 = Field(pattern=r"^[0-9a-f]{64}$")


class Approval(BaseModel):
    """What was asked for, and what became of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str = _Sha256
    """SHA-256 (hex) of `recipe.yaml`."""
    roster: str = _Sha256
    """Hash (hex) of the roster."""
    asked_by: Person
    asked_at: str
    """UTC."""
    approved_by: Person | None = None
    approved_at: str | None = None

    @classmethod
    def asked(cls, directory: Path, person: Person, at: datetime) -> Approval:
        """What `person` asks for, who wants the run in `directory` as it stands there now.

        Raises:
            StorageError: a file cannot be read.
            PolicyError: the roster cannot.
        """
        recipe, roster = _content(directory)
        return cls(recipe=recipe, roster=roster, asked_by=person, asked_at=at.strftime(_TIME))

    @classmethod
    def load(cls, directory: Path) -> Approval | None:
        """What was asked for; None if nothing was.

        Raises:
            StorageError: the file is damaged.
        """
        path = directory / APPROVAL
        try:
            return from_json(cls, read_file(path, SMALL.longest), SMALL)
        except FileNotFoundError:
            return None
        except (OSError, UnreadableError) as error:
            raise StorageError(
                f"{path}: cannot be read ({why_not(error)}): restore it, or delete it and have the run approved anew"
            ) from None

    def save(self, directory: Path) -> None:
        """Writes it.

        Raises:
            StorageError: it could not be written.
        """
        write_atomically(directory / APPROVAL, self.model_dump_json(indent=2).encode() + b"\n")

    @property
    def digest(self) -> str:
        """SHA-256 (hex) that stands for recipe and roster: what whoever approves has looked at."""
        return _digest_of_both(self.recipe, self.roster)

    def require_of(self, directory: Path) -> None:
        """Refuses it for a run that is not what it is of any more.

        Raises:
            DeploymentError: recipe or roster is another one.
            StorageError: a file cannot be read.
            PolicyError: the roster cannot.
        """
        recipe, roster = _content(directory)
        if recipe != self.recipe:
            raise DeploymentError(f"{directory / 'recipe.yaml'} is not the recipe that {self._whose}")
        if roster != self.roster:
            raise DeploymentError(f"{directory / 'roster.json'} is not the roster that {self._whose}")

    def given(self, person: Person, looked_at: str, at: datetime) -> Approval:
        """This with the approval of `person`, who has looked at what has the digest `looked_at`.

        Raises:
            DeploymentError: who asked would approve it, or it is not what was looked at.
        """
        if person.may_be(self.asked_by):
            raise DeploymentError(f"{self.asked_by.name} asked for it: another person must approve it")
        if looked_at != self.digest:
            raise DeploymentError(
                f"what waits for approval ({self.digest[:_SHOWN]}) is not what was looked at "
                f"({looked_at[:_SHOWN]}): look at it again"
            )
        return self.model_copy(update={"approved_by": person, "approved_at": at.strftime(_TIME)})

    @property
    def _whose(self) -> str:
        return f"{self.approved_by.name} approved" if self.approved_by else f"{self.asked_by.name} asked for"


def require_approved(directory: Path) -> Approval:
    """What another person approved, if it is what the run in `directory` would be now.

    Raises:
        DeploymentError: nobody approved it, or something else was approved.
        StorageError: a file cannot be read.
        PolicyError: the roster cannot.
    """
    approval = Approval.load(directory)
    if approval is None or approval.approved_by is None:
        raise DeploymentError("no other person has approved it, as this server demands")
    approval.require_of(directory)
    return approval


@dataclass(frozen=True)
class ShownRun:
    """What is put before whoever is to approve a run.

    Attributes:
        recipe: what would run.
        text: of its file, whole.
        roster: among whom.
    """

    recipe: Recipe
    text: str
    roster: Roster


def shown_run(directory: Path, waiting: str) -> ShownRun:
    """The run in `directory`, read once, if it is what has the digest `waiting`.

    Raises:
        DeploymentError: it is another one, since it was changed, or deleted and submitted anew, a moment ago.
        RecipeError: the recipe is none.
        StorageError: a file cannot be read.
        PolicyError: the roster cannot.
    """
    recipe, roster = _read(directory)
    if _digest_of_both(digest(recipe), roster.hash.hex()) != waiting:
        raise DeploymentError(
            f"what lies in {directory} is not what waits for approval ({waiting[:_SHOWN]}): look at it again, and "
            "refuse it if that is said again"
        )
    path = directory / "recipe.yaml"
    return ShownRun(parse_recipe(recipe, where=str(path)), recipe.decode(), roster)


def _digest_of_both(recipe: str, roster: str) -> str:
    return digest(canonical_json({"recipe": recipe, "roster": roster}))


def _content(directory: Path) -> tuple[str, str]:
    recipe, roster = _read(directory)
    return digest(recipe), roster.hash.hex()


def _read(directory: Path) -> tuple[bytes, Roster]:
    path = directory / "recipe.yaml"
    try:
        recipe = read_file(path, CONFIGURATION.longest)
    except (OSError, UnreadableError) as error:
        raise StorageError(f"{path}: cannot be read ({why_not(error)}): restore it from a backup") from None
    return recipe, Roster.load(directory / "roster.json")
