"""Logging in by a token, and out again; nobody else reaches a page."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sealora_common.web.guard import refusal
from sealora_common.web.pages import Pages
from sealora_common.web.sessions import LONGEST_SECONDS, Role, Session, Sessions

LOGIN, LOGOUT = "/login", "/logout"
_FAILED_SECONDS = 1.0
_MOST_AT_ONCE = 8
_MOST_FIELDS = 64
_SESSION = "sealora.session"  # in an ASGI scope


@dataclass(frozen=True)
class LoggedIn:
    """Whose token it is.

    Attributes:
        role: what they may do.
        who: what they are called.
        subject: see `Session`.
        is_current: see `Session`.
    """

    role: Role
    who: str
    subject: str = ""
    is_current: Callable[[], bool] = lambda: True


TokenHolder = Callable[[str], LoggedIn | None]
"""Whose a token is; it takes equally long for each that is nobody's."""


def one_token(token: str, role: Role, who: str) -> TokenHolder:
    """Whoever knows `token`, which is compared in constant time."""

    def holder(said: str) -> LoggedIn | None:
        return LoggedIn(role, who) if hmac.compare_digest(said.encode(), token.encode()) else None

    return holder


class Login:
    """The pages `/login` and `/logout`, and the cookie.

    A wrong token is answered after a second, and at most eight are looked at in one, whoever sends them (429 beyond).

    Attributes:
        cookie: its name.

    Args:
        pages: has the template `login.html.j2`.
        sessions: that begin and end here.
        holder: whose a token is.
        hint: where the token is found, for a person; never the token.
        mark: of the cookie, which a browser sends to every port of a host: the port, or what else tells servers apart.
        is_secure: whether browsers ask by https, so that the cookie goes over nothing else.
    """

    def __init__(
        self, pages: Pages, sessions: Sessions, holder: TokenHolder, hint: str, mark: str, *, is_secure: bool
    ) -> None:
        self._pages = pages
        self._sessions = sessions
        self._holder = holder
        self._hint = hint
        self._is_secure = is_secure
        self.cookie = f"{'__Host-' if is_secure else ''}sealora-{mark}"  # the prefix: by https alone (RFC 6265bis)
        self._at_once = 0

    def routes(self) -> list[Route]:
        """Of an application behind `LoginGate`."""
        return [
            Route(LOGIN, self._form, methods=["GET"]),
            Route(LOGIN, self._log_in, methods=["POST"]),
            Route(LOGOUT, self._log_out, methods=["POST"]),
        ]

    def session(self, connection: HTTPConnection) -> Session | None:
        """Who is asking, if they are logged in."""
        name = connection.cookies.get(self.cookie)
        return None if name is None else self._sessions.of(name)

    def is_open(self, session: Session) -> bool:
        """Whether somebody who was found before is still logged in; asking does not keep them so."""
        return self._sessions.is_open(session)

    def admit(self, who: LoggedIn, answer: Response | None = None) -> Response:
        """What logs somebody in whose name has been made sure of: `answer`, or to the first page."""
        name, _ = self._sessions.begin(who.role, who.who, subject=who.subject, is_current=who.is_current)
        answer = answer or RedirectResponse("/", status_code=303)
        answer.set_cookie(
            self.cookie,
            name,
            max_age=int(LONGEST_SECONDS),
            path="/",
            secure=self._is_secure,
            httponly=True,
            samesite="strict",
        )
        return answer

    async def _form(self, request: Request) -> Response:
        return RedirectResponse("/", status_code=303) if self.session(request) else self._page(200, "")

    async def _log_in(self, request: Request) -> Response:
        if self._at_once >= _MOST_AT_ONCE:
            return self._page(429, "Others are trying to log in at this moment: try again in a few seconds.")
        self._at_once += 1
        try:
            fields = await form_fields(request)
            who = self._holder(fields.get("token", "").strip())
            if who is not None:
                return self.admit(who)
            await asyncio.sleep(_FAILED_SECONDS)
        finally:
            self._at_once -= 1
        return self._page(403, "That is not the token.")

    async def _log_out(self, request: Request) -> Response:
        await checked_form(request)
        self._sessions.end(request.cookies.get(self.cookie, ""))
        answer = RedirectResponse(LOGIN, status_code=303)
        answer.delete_cookie(self.cookie, path="/", secure=self._is_secure, httponly=True, samesite="strict")
        return answer

    def _page(self, status: int, problem: str) -> Response:
        return self._pages.response("login.html.j2", status, problem=problem, hint=self._hint)


class LoginGate:
    """Lets through to `app` those who are logged in; others are led to the login, and an event stream ends (401).

    Args:
        app: what answers.
        login: who is logged in.
        open_paths: beginnings of paths that anybody may ask: style and script of the login's page, and what else an
            application names.
    """

    def __init__(self, app: ASGIApp, login: Login, open_paths: Iterable[str] = ("/assets/",)) -> None:
        self._app = app
        self._login = login
        self._open = (LOGIN, *open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the server."""
        if scope["type"] == "http":
            scope[_SESSION] = session = self._login.session(HTTPConnection(scope))
            if session is None and not self._is_open(scope["path"]):
                await _led_to_login(scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return any(path.startswith(each) if each.endswith("/") else path == each for each in self._open)


def session_of(request: HTTPConnection) -> Session:
    """Who asks, behind `LoginGate`.

    Raises:
        KeyError: the path is open to anybody, and nobody is logged in.
    """
    session: Session | None = request.scope[_SESSION]
    if session is None:
        raise KeyError(_SESSION)
    return session


async def form_fields(request: Request) -> Mapping[str, str]:
    """The fields of a form (`application/x-www-form-urlencoded`), the first of each name; none of another body."""
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:  # no UTF-8, or more fields than any form of ours has
        return {}
    return dict(reversed(pairs))


async def checked_form(request: Request) -> Mapping[str, str]:
    """The fields of a form of a page of whoever is logged in.

    Raises:
        ForgedFormError: the session's `csrf` is missing or wrong.
    """
    fields = await form_fields(request)
    if not session_of(request).has_sent(fields.get("csrf", "")):
        raise ForgedFormError
    return fields


class ForgedFormError(Exception):
    """A form that no page of this session has sent, or one of a session that has ended since."""


async def forged_form(request: Request, error: Exception) -> Response:
    """How an application answers `ForgedFormError`: `exception_handlers={ForgedFormError: forged_form}`."""
    return refusal(403, "This form is of a page that is no longer yours: load the page again and send it from there.")


def _led_to_login(scope: Scope) -> Response:
    wants_page = "text/html" in Headers(scope=scope).get("accept", "")
    if scope["method"] in ("GET", "HEAD") and wants_page:
        return RedirectResponse(LOGIN, status_code=303)
    return refusal(401, "Nobody is logged in: log in first.")
