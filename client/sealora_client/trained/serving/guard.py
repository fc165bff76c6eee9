"""Who may ask at all, before anything of a request is read.

A page in somebody's browser must not ask a server that listens on their machine or beside it. So whatever a page sends
by itself, which has an `Origin`, is refused; and so is a name that this machine is not known by, under which a page
could have its own address lead here (DNS rebinding). An address instead of a name cannot be made to lead elsewhere.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
from collections.abc import Iterable
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sealora_client.trained.serving.replies import ApiFault, ApiFaultReply
from sealora_common.config import SMALL, read_file, why_not
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.network.address import host_and_maybe_port

log = logging.getLogger(__name__)
_SHORTEST_TOKEN = 16


class Guard:
    """Lets through to `app` what may come.

    Args:
        app: what answers.
        names: by which this machine may be asked, beside its addresses and `localhost`.
        token: what whoever asks has to know; None asks for nothing.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str], token: str | None) -> None:
        self._app = app
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the server."""
        refused = self._refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        try:
            await (refused or self._app)(scope, receive, send)
        except Exception as error:  # its text may quote what was asked; whoever asked has been told of a failure
            log.error("a request failed (%s)", type(error).__name__)

    def _refusal(self, headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_known(hosts[0]):
            return fault(
                421,
                "this server is not known by that name: ask by its address, or start it with --name",
                "unknown_host",
            )
        if "origin" in headers:
            return fault(403, "pages of a browser are not answered: ask from a program", "origin")
        if self._token is None:
            return None
        scheme, _, said = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(said.strip().encode(), self._token):
            return None
        refused = fault(401, "the token is missing or wrong: send Authorization: Bearer TOKEN", "invalid_api_key")
        refused.headers["WWW-Authenticate"] = "Bearer"
        return refused

    def _is_known(self, host: str) -> bool:
        name, port = host_and_maybe_port(host)
        if port is None:
            return False
        bare = name.removeprefix("[").removesuffix("]").lower().rstrip(".")
        try:
            ipaddress.ip_address(bare)
        except ValueError:
            return bare in self._names
        return True


def fault(status: int, message: str, code: str, kind: str = "invalid_request_error") -> Response:
    """A refusal as clients read it."""
    body = ApiFaultReply(error=ApiFault(message=message, code=code, type=kind))
    return Response(body.model_dump_json(), status_code=status, media_type="application/json")


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
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise PolicyError(
            f"{path}: holds no token: write one line of {_SHORTEST_TOKEN} letters and digits or more, such as "
            "`openssl rand -hex 32` prints"
        )
    return token
