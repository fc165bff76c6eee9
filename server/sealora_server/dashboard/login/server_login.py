"""All ways to log in at a server's dashboard, one behind the other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import Route

from sealora_common.errors import PolicyError
from sealora_common.network.tls import client_context
from sealora_common.web.login import LoggedIn, Login, TokenHolder
from sealora_common.web.pages import Pages
from sealora_common.web.sessions import Session, Sessions
from sealora_common.web.token_file import token_of
from sealora_server.dashboard.login.proxy import ProxyWord
from sealora_server.dashboard.login.settings import OpenIdSection

log = logging.getLogger(__name__)


class ServerLogin(Login):
    """By token, by a proxy's word, and, where server.yaml has `openid`, at a login service.

    Args:
        pages: has the templates `server_login.html.j2`, `logged_in.html.j2` and `not_logged_in.html.j2`.
        sessions: that begin and end here.
        holder: whose a token is.
        hint: where the token is found.
        mark: of the cookies.
        proxy: what says who asks, where there is one.
        openid: the login service, where there is one.
        directory: in which the files lie that `openid` names.
        is_secure: whether browsers ask by https.

    Raises:
        PolicyError: `openid` is there and a library for it is not, or its secret cannot be read.
        StorageError: its authority cannot be read.
    """

    def __init__(
        self,
        pages: Pages,
        sessions: Sessions,
        holder: TokenHolder,
        hint: str,
        mark: str,
        *,
        proxy: ProxyWord | None,
        openid: OpenIdSection | None,
        directory: Path,
        is_secure: bool,
    ) -> None:
        super().__init__(pages, sessions, holder, hint, mark, is_secure=is_secure)
        self._proxy = proxy
        self._openid_routes: Callable[[], list[Route]] = list
        if openid is not None:
            self._openid_routes = self._at_service(openid, directory, mark)

    def routes(self) -> list[Route]:
        """Of an application behind `LoginGate`."""
        return [*super().routes(), *self._openid_routes()]

    def session(self, connection: HTTPConnection) -> Session | None:
        """Who is asking, if they are logged in."""
        said = None if self._proxy is None else self._proxy.session(connection.scope)
        return said or super().session(connection)

    def is_open(self, session: Session) -> bool:
        """Whether somebody who was found before is still logged in."""
        return (self._proxy is not None and self._proxy.vouches_for(session)) or super().is_open(session)

    def admit(self, who: LoggedIn, answer: Response | None = None) -> Response:
        """What logs somebody in whose name has been made sure of."""
        log.info("%s has logged in at the dashboard as %s", who.who, who.role)
        return super().admit(who, answer)

    def _page(self, status: int, problem: str) -> Response:
        has_openid = self._openid_routes is not list
        return self._pages.response(
            "server_login.html.j2", status, problem=problem, hint=self._hint, has_openid=has_openid
        )

    def _at_service(self, section: OpenIdSection, directory: Path, mark: str) -> Callable[[], list[Route]]:
        try:
            from sealora_server.dashboard.login.openid import OpenIdService
            from sealora_server.dashboard.login.openid_login import OpenIdLogin
        except ModuleNotFoundError as error:
            raise PolicyError(
                f"`openid` in server.yaml needs {error.name}, which is not installed: install Sealora's extra `oidc`"
            ) from None
        secret = None if section.client_secret is None else token_of(directory / section.client_secret)
        context = client_context(None if section.ca is None else directory / section.ca)
        service = OpenIdService(section, secret, context)
        return OpenIdLogin(service, section, self._pages, self.admit, mark, is_secure=self._is_secure).routes
