"""What the forms do: the operations of the command line, in the name of whoever is logged in."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

from sealora_common.config import from_json
from sealora_common.errors import PolicyError, SealoraError, UnreadableError
from sealora_common.health.logs import fields
from sealora_common.identity import Identity
from sealora_common.invitation import INVITATION_FILE
from sealora_common.recipe.load import parse_recipe
from sealora_common.roster import Roster
from sealora_common.show.safe_text import safe_text
from sealora_server.dashboard.acts.once import FormOutcome
from sealora_server.deployment.directory import ServerDirectory, run_name
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.inviting import Coordination, invitations
from sealora_server.deployment.operator.messages import Act, Approve, Delete, Refuse, Resume, Stop, Submit
from sealora_server.deployment.operator.person import Person
from sealora_server.deployment.operator.told import done_text, submitted_text
from sealora_server.upkeep.archived_run import archive_run

log = logging.getLogger(__name__)

ARCHIVES = "archives"
"""In a server's directory."""
_MOST_INVITED = 100
_LONGEST_DOWNLOAD = 128 * 2**20

Ask = Callable[[Act, Person], object]
"""Asks the running server in the name of a person; raises its refusal."""


@dataclass(frozen=True)
class Submission:
    """What a form for a run says.

    Attributes:
        recipe: YAML, as it was sent.
        roster: JSON, likewise.
        name: of the run; empty: the recipe's.
        continue_from: the run of this server that it begins with; empty: none.
    """

    recipe: bytes
    roster: bytes
    name: str = ""
    continue_from: str = ""


@dataclass(frozen=True)
class Download:
    """A file to keep."""

    name: str
    content: bytes
    media_type: str


class Operator:
    """Each method blocks, and is one act; those of the server itself are in its log, the others in this process's.

    Args:
        server: its directory.
        ask: asks it.
    """

    def __init__(self, server: ServerDirectory, ask: Ask) -> None:
        self._server = server
        self._ask = ask

    def submit(self, person: Person, submission: Submission) -> FormOutcome:
        """Starts a run, or asks for it."""

        def do() -> FormOutcome:
            recipe = parse_recipe(submission.recipe)
            named = run_name(submission.name or recipe.name)
            start = submission.continue_from and str(self._server.runs / run_name(submission.continue_from))
            roster = _text(submission.roster, "the roster")
            asked = Submit(
                name=named, recipe=_text(submission.recipe, "the recipe"), roster=roster, continue_from=start or None
            )
            self._ask(asked, person)
            return FormOutcome(True, submitted_text(named, recipe.hash), f"/runs/{named}")

        return _outcome(do, "/submit")

    def act(self, person: Person, act: Stop | Resume | Approve | Refuse) -> FormOutcome:
        """Does something with a run."""

        def do() -> FormOutcome:
            self._ask(act, person)
            return FormOutcome(True, done_text(act), f"/runs/{act.run}")

        return _outcome(do, f"/runs/{act.run}")

    def delete(self, person: Person, run: str, typed: str) -> FormOutcome:
        """Deletes a run whose name was typed."""

        def do() -> FormOutcome:
            if typed != run:
                raise DeploymentError(f"run {run} was not deleted: another name was given")
            act = Delete(run=run)
            self._ask(act, person)
            return FormOutcome(True, done_text(act), "/")

        return _outcome(do, f"/runs/{run}")

    def archive(self, person: Person, run: str) -> FormOutcome:
        """Writes a run to a file of the server's directory."""
        file = self._server.path / ARCHIVES / f"{run}.run"

        def do() -> FormOutcome:
            identity = Identity.load("server", self._server.identity)
            said = archive_run(self._server.runs / run, file, identity).text(file, run, identity)
            return FormOutcome(True, said, f"/archives/{run}.run")

        return self._logged(person, f"archive of run {run}", do, f"/runs/{run}")

    def invite(
        self, person: Person, recipe: bytes, roster: bytes, names: list[str], url: str | None
    ) -> FormOutcome | Download:
        """The invitations of sites, one file or a ZIP of several."""
        found: list[Download] = []

        def do() -> FormOutcome:
            if len(names) > _MOST_INVITED:
                raise DeploymentError(f"{len(names)} sites: invite {_MOST_INVITED} at once at most")
            made = invitations(
                self._server, names, parse_recipe(recipe), Coordination.of(_roster(roster), "the roster"), url=url
            )
            files = {INVITATION_FILE.format(site=each.site): each.content for each in made}
            if sum(map(len, files.values())) > _LONGEST_DOWNLOAD:
                raise DeploymentError("these invitations are too large for one download: invite fewer sites at once")
            found.append(_download(files))
            return FormOutcome(True, "done")

        outcome = self._logged(person, "invitations", do, "/invite")
        return found[0] if found else outcome

    def _logged(self, person: Person, act: str, do: Callable[[], FormOutcome], to: str) -> FormOutcome:
        outcome = _outcome(do, to)
        reason = None if outcome.is_done else outcome.sentence
        log.log(
            logging.INFO if outcome.is_done else logging.WARNING,
            "operator %s (at the dashboard): %s: %s",
            person.name,
            act,
            "done" if reason is None else f"refused: {reason}",
            extra=fields(operator=person.name, act=act, reason=reason),
        )
        return outcome


def _outcome(do: Callable[[], FormOutcome], to: str) -> FormOutcome:
    try:
        return do()
    except SealoraError as error:
        return FormOutcome(False, safe_text(str(error)), to)


def _text(content: bytes, what: str) -> str:
    try:
        return content.decode()
    except UnicodeError:
        raise DeploymentError(f"{what} is no text in UTF-8: choose another file") from None


def _roster(content: bytes) -> Roster:
    try:
        return from_json(Roster, content)
    except UnreadableError as error:
        raise PolicyError(f"the roster: not a roster ({error}): ask the coordinator for it") from None


def _download(files: dict[str, bytes]) -> Download:
    if len(files) == 1:
        [(name, content)] = files.items()
        return Download(name, content, "application/json")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return Download("invitations.zip", packed.getvalue(), "application/zip")
