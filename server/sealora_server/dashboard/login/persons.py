"""Persons with a token of their own: `people/operators/NAME.token` and `people/readers/NAME.token`.

Who is taken out of there is logged out at once, and who is put in needs no restart.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from sealora_common.errors import PolicyError, SealoraError, storage_error
from sealora_common.web.login import LoggedIn
from sealora_common.web.sessions import Role
from sealora_common.web.token_file import made_token, token_of
from sealora_server.dashboard.login.name import person_name

log = logging.getLogger(__name__)

FOLDERS: Final = {Role.OPERATOR: "operators", Role.READER: "readers"}
_SUFFIX = ".token"
_MOST = 1000


class PersonTokens:
    """Those who have a token file.

    Args:
        directory: `people` in a server's directory; it may be missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def holder(self, said: str) -> LoggedIn | None:
        """Whose token `said` is; all are compared, each in constant time. One that several have is nobody's."""
        found = {}
        for role, path in self._files():
            try:
                token = token_of(path)
            except SealoraError as error:
                log.warning("nobody logs in by it: %s", error)
                continue
            if hmac.compare_digest(token.encode(), said.encode("utf-8", "surrogateescape")):
                name = path.name.removesuffix(_SUFFIX)
                found[path] = LoggedIn(role, name, is_current=partial(_is_still, path, token))
        if len(found) > 1:
            log.warning("nobody logs in by a token that lies in several files: %s", ", ".join(map(str, found)))
            return None
        return next(iter(found.values()), None)

    def path(self, role: Role, name: str) -> Path:
        """Where somebody's token lies.

        Raises:
            PolicyError: the name is none.
        """
        if "/" in person_name(name) or name.startswith("."):
            raise PolicyError(f"{name!r} is no name for a file: leave out dots at its beginning, and slashes")
        return self._directory / FOLDERS[role] / f"{name}{_SUFFIX}"

    def add(self, role: Role, name: str) -> Path:
        """Makes a token for somebody, unless there is one; where it lies.

        Raises:
            PolicyError: the name is none, or what is there is no token.
            StorageError: it cannot be written.
        """
        path = self.path(role, name)
        made_token(path)
        return path

    def remove(self, role: Role, name: str) -> Path:
        """Takes somebody's token away; where it lay.

        Raises:
            PolicyError: the name is none, or nobody has a token by it.
            StorageError: it cannot be taken away.
        """
        path = self.path(role, name)
        try:
            path.unlink()
        except FileNotFoundError:
            raise PolicyError(f"{path}: {name} has no token to be taken away: look into {path.parent}") from None
        except OSError as error:
            raise storage_error(path, error) from error
        return path

    def _files(self) -> Iterator[tuple[Role, Path]]:
        for role, folder in FOLDERS.items():
            for path in sorted((self._directory / folder).glob(f"*{_SUFFIX}"))[:_MOST]:
                try:
                    self.path(role, path.name.removesuffix(_SUFFIX))
                except PolicyError:
                    log.warning("%s: nobody logs in by it, as it is not named like a person", path)
                    continue
                yield role, path


def _is_still(path: Path, token: str) -> bool:
    """Whether a token is what it was."""
    try:
        return hmac.compare_digest(token_of(path).encode(), token.encode())
    except SealoraError:
        return False
