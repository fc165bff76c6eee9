"""A run's beginning: what is refused, what its directory holds, and where it is kept what is wanted of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from sealora_common.adapter import Tensors
from sealora_common.config import SMALL, from_json, read_file
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.identity import key_fingerprint
from sealora_common.recipe import Recipe
from sealora_common.roster import Roster, require_succession
from sealora_common.secagg import threshold_for
from sealora_common.storage.durable import write_atomically
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.approval import Approval
from sealora_server.deployment.operator.messages import RunCondition
from sealora_server.deployment.operator.person import Person
from sealora_server.run.store import RunStore

OPERATION: Final = "operation.json"
"""Its file in a run's directory."""
_IDENTITY_FROM_RUN = "../../identity.pem"


class Operation(BaseModel):
    """`operation.json`: what is wanted of a run, or what became of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    condition: RunCondition
    said: str = ""
    """Why it failed."""
    place: int = Field(default=0, ge=0)
    """In line, the smallest first; 0 if the run is not in line."""

    @classmethod
    def load(cls, directory: Path) -> Operation:
        """Reads it; where it is missing or damaged the run waits for its operator."""
        try:
            return from_json(cls, read_file(directory / OPERATION, SMALL.longest), SMALL)
        except (OSError, UnreadableError):
            return cls(condition="stopped", said=f"{directory / OPERATION} is missing or damaged: resume the run")

    def save(self, directory: Path) -> None:
        """Writes it.

        Raises:
            StorageError: it could not be written.
        """
        write_atomically(directory / OPERATION, self.model_dump_json(indent=2).encode() + b"\n")


def create_run(
    directory: Path,
    recipe: Recipe,
    roster: Roster,
    start: Tensors | None = None,
    *,
    place: int = 0,
    asked_by: Person | None = None,
) -> None:
    """Makes the directory of a run that is wanted to run, once `check_submission` has accepted it.

    Args:
        directory: where it is kept.
        recipe: what is run.
        roster: among whom.
        start: the adapter that it begins with, if that is an earlier run's.
        place: in line, if it has to wait; 0 to begin.
        asked_by: who asks for it, if another person must approve it first; it waits for that then.

    Raises:
        StorageError: there is a run in the directory, or it cannot be written.
    """
    RunStore.create(directory, recipe, server_key=_IDENTITY_FROM_RUN, start=start)
    roster.save(directory / "roster.json")
    if asked_by is not None:
        Approval.asked(directory, asked_by, datetime.now(UTC)).save(directory)
        wanted = Operation(condition="unapproved")
    else:
        wanted = Operation(condition="queued" if place else "running", place=place)
    wanted.save(directory)  # last: a directory without it was cut short, and is left alone at the next start


def check_submission(directory: Path, recipe: Recipe, roster: Roster, server_key: bytes) -> None:
    """Refuses a run that no site would take part in, or that could never open a sum.

    Args:
        directory: where it would be kept.
        recipe: what is run.
        roster: among whom; its signature must have been checked.
        server_key: the public key of this server's identity.

    Raises:
        DeploymentError: the sentence says why, and what to do.
    """
    if directory.exists():
        raise DeploymentError(
            f"{directory} exists: give this run another name with --name, or resume that one, or, if the server was "
            "killed while it was submitted, delete the directory"
        )
    if recipe.model.digest is None:
        raise DeploymentError(
            "the recipe's model.digest is missing, so sites could train on different base models: put in what "
            f"`sealora-site model digest {recipe.model.base}` prints"
        )
    if roster.server is None or roster.server_key != server_key:
        raise DeploymentError(
            f"the roster names {'another server key' if roster.server else 'no server key'}, so sites would not accept "
            f"this server's receipts: let the coordinator create it with --server and this server's identity.pub "
            f"({key_fingerprint(server_key)})"
        )
    needed = max(
        recipe.sites.minimum, recipe.sealing.min_survivors, threshold_for(len(roster), recipe.sealing.adversary)
    )
    if len(roster) < needed:
        raise DeploymentError(
            f"the roster has {len(roster)} sites and the recipe needs {needed}: add sites, or lower sites.minimum or "
            "sealing.min_survivors as far as the sites' policies allow"
        )


def check_next_roster(directory: Path, roster: Roster) -> None:
    """Refuses a roster that the sites of the run in `directory` would refuse.

    Raises:
        DeploymentError: it is another coordinator's, names another server, or may not follow the run's present one.
    """
    present, name = Roster.load(directory / "roster.json"), directory.name
    if roster.coordinator != present.coordinator or roster.server != present.server:
        raise DeploymentError(
            f"this roster is of another {'server' if roster.coordinator == present.coordinator else 'coordinator'} "
            f"than run {name!r} has: sites would refuse it"
        )
    try:
        require_succession(roster, present.sequence, present.hash.hex(), f"run {name!r}: ")
    except PolicyError as error:
        raise DeploymentError(str(error)) from None
