"""The file that holds what whoever asks has to know: read, and made if there is none."""

from __future__ import annotations

import secrets
from pathlib import Path

from sealora_common.config import SMALL, read_file, why_not
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.storage.new_file import new_file

_SHORTEST = 16
_BYTES = 32


def token_of(path: Path) -> str:
    """What is in a file of a token.

    Raises:
        PolicyError: it cannot be read, others can read it, or what is in it is no token.
    """
    try:
        content = read_file(path, SMALL.longest)
        is_open = bool(path.stat().st_mode & 0o077)
    except (OSError, UnreadableError) as error:
        raise PolicyError(f"{path}: the token cannot be read ({why_not(error)}): name the file that holds it") from None
    if is_open:
        raise PolicyError(f"{path}: other accounts can read the token: chmod 600 it")
    token = content.decode("ascii", "replace").strip()
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise PolicyError(
            f"{path}: holds no token: write one line of {_SHORTEST} letters and digits or more, such as "
            "`openssl rand -hex 32` prints"
        )
    return token


def made_token(path: Path) -> str:
    """As `token_of`; a file that is not there is made first, with 256 bits that nobody can guess.

    Raises:
        PolicyError: as `token_of`.
        StorageError: it cannot be written.
    """
    if not path.exists():
        with new_file(path) as stream:
            stream.write(secrets.token_hex(_BYTES).encode() + b"\n")
    return token_of(path)
