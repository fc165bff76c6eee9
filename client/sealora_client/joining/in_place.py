"""The files that a site takes part by, put where they belong: all of them were judged before the first is written."""

from __future__ import annotations

from pathlib import Path

from sealora_common.config import CONFIGURATION, LINE, read_file
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.invitation import Invitation
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.roster import Roster
from sealora_common.storage.durable import write_atomically
from sealora_common.storage.own_files import PUBLIC_FILE

AGREED = "agreed-recipe.yaml"
"""The recipe that the site's person agreed to, in its directory until all is in place."""
_RECIPE, _ROSTER, _CA = "recipe.yaml", "roster.json", "ca.pem"


def agreed_recipe(directory: Path) -> Recipe | None:
    """The recipe in place, or else the one that the site's person agreed to; None if there is neither.

    Raises:
        RecipeError: the file was damaged.
    """
    found = (directory / name for name in (_RECIPE, AGREED) if (directory / name).exists())
    return next(map(load_recipe, found), None)


def agree_to(directory: Path, invitation: Invitation) -> None:
    """Notes what the site's person agreed to.

    Raises:
        StorageError: it could not be written.
    """
    content = invitation.recipe.encode()
    if _content_of(directory / AGREED) != content:
        write_atomically(directory / AGREED, content)


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
    (directory / AGREED).unlink(missing_ok=True)


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
