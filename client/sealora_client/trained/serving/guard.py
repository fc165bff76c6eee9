"""Who may ask at all, before anything of a request is read.

A page in somebody's browser must not ask a server that listens on their machine or beside it. So whatever a page sends
by itself, which has an `Origin`, is refused; and so is a name that this machine is not known by.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sealora_client.trained.serving.replies import ApiFault, ApiFaultReply
from sealora_common.web.hosts import is_known_host, known_names

log = logging.getLogger(__name__)


class Guard:
    """Lets through to `app` what may come.

    Args:
        app: what answers.
        names: by which this machine may be asked, beside its addresses and `localhost`.
        token: what whoever asks has to know; None asks for nothing.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str], token: str | None) -> None:
        self._app = app
        self._names = known_names(names)
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the server."""
        refused = self._refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        try:
            await (refused or self._app)(scope, receive, send)
        except Exception as error:  # its text may quote what was asked; whoever asked has been told of a failure
            log.error("a request failed (%s)", type(error).__name__)

    def _refusal(self, headers: Headers) -> Response | None:
        if not is_known_host(headers.getlist("host"), self._names):
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


def fault(status: int, message: str, code: str, kind: str = "invalid_request_error") -> Response:
    """A refusal as clients read it."""
    body = ApiFaultReply(error=ApiFault(message=message, code=code, type=kind))
    return Response(body.model_dump_json(), status_code=status, media_type="application/json")
