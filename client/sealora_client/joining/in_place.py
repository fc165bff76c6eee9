"""The files that a site takes part by, put where they belong: all of them were judged before the first is written."""

from __future__ import annotations

from pathlib import Path

from sealora_common.config import CONFIGURATION, LINE, read_file
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.invitation import Invitation
from sealora_common.roster import Roster
from sealora_common.storage.durable import write_atomically
from sealora_common.storage.own_files import PUBLIC_FILE

AGREED = "invitation.json"
"""The invitation that the site began with, in its directory: what its person agreed to."""
_RECIPE, _ROSTER, _CA = "recipe.yaml", "roster.json", "ca.pem"


def agreed_invitation(directory: Path) -> Invitation | None:
    """The invitation that the site began with; None if it began otherwise.

    Raises:
        PolicyError: the file was damaged.
    """
    path = directory / AGREED
    return Invitation.load(path) if path.exists() else None


def agree_to(directory: Path, invitation: Invitation) -> None:
    """Notes what the site's person agreed to, unless that is what the note says.

    Raises:
        StorageError: it could not be written.
    """
    path = directory / AGREED
    if not path.exists() or agreed_invitation(directory) != invitation:
        invitation.save(path)


def has_agreed(directory: Path) -> bool:
    """Whether the site has agreed to a recipe before."""
    return (directory / AGREED).exists() or (directory / _RECIPE).exists()


def put_in_place(directory: Path, invitation: Invitation, roster: Roster) -> None:
    """Writes authority, recipe and roster, each whole or not at all, the roster last: without it no round is joined.

    Whoever is stopped in between runs the same command again.

    Raises:
        StorageError: one could not be written.
    """
    for name, content in _contents(invitation):
        if _content_of(directory / name) != content:
            write_atomically(directory / name, content, mode=PUBLIC_FILE if name == _CA else 0o600)
    roster.save(directory / _ROSTER)


def is_in_place(directory: Path, invitation: Invitation, roster: Roster) -> bool:
    """Whether a site has all that the invitation holds."""
    try:
        own = Roster.load(directory / _ROSTER)
    except PolicyError:
        return False
    return own == roster and all(_content_of(directory / name) == content for name, content in _contents(invitation))


def _contents(invitation: Invitation) -> list[tuple[str, bytes]]:
    authority = [] if invitation.ca is None else [(_CA, invitation.ca.encode())]
    return [*authority, (_RECIPE, invitation.recipe.encode())]


def _content_of(path: Path) -> bytes | None:
    try:
        return read_file(path, max(CONFIGURATION.longest, LINE.longest))
    except (OSError, UnreadableError):
        return None
