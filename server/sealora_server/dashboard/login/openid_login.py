"""Logging in at an institution's own service: out to its page, and back with what it says."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from sealora_common.errors import PolicyError
from sealora_common.show.quantities import count_text
from sealora_common.show.safe_text import safe_text
from sealora_common.web.login import LoggedIn
from sealora_common.web.pages import Pages
from sealora_server.dashboard.login.name import person_name
from sealora_server.dashboard.login.openid import LOGIN_SECONDS, OpenIdService, Vouched
from sealora_server.dashboard.login.openid_paths import BACK, BEGIN
from sealora_server.dashboard.login.settings import OpenIdSection

log = logging.getLogger(__name__)

_TOLD_SECONDS = 10.0
_EMAIL, _VERIFIED = "email", "email_verified"

Admit = Callable[[LoggedIn, Response], Response]


class OpenIdLogin:
    """Two paths: one leads to the service, the other is where it sends people back.

    Args:
        service: who vouches.
        section: of server.yaml.
        pages: has the template `logged_in.html.j2`.
        admit: puts the cookie of a new session on an answer.
        mark: of the cookie.
        is_secure: whether browsers ask by https.
    """

    def __init__(
        self, service: OpenIdService, section: OpenIdSection, pages: Pages, admit: Admit, mark: str, *, is_secure: bool
    ) -> None:
        self._service = service
        self._section = section
        self._pages = pages
        self._admit = admit
        self._is_secure = is_secure
        self._told_at, self._untold = float("-inf"), 0
        self._cookie = f"{'__Host-' if is_secure else ''}sealora-{mark}-openid"

    def routes(self) -> list[Route]:
        """Of an application behind `LoginGate` that lets through what begins with `OPEN`."""
        return [Route(BEGIN, self._begin, methods=["GET"]), Route(BACK, self._back, methods=["GET"])]

    async def _begin(self, request: Request) -> Response:
        begun = self._service.begun()
        try:
            page = await self._service.page(begun, self._url_back(request))
        except PolicyError as error:
            return self._refused(502, error)
        answer = RedirectResponse(page, status_code=303)
        # Not `strict`: the browser comes back from another site.
        answer.set_cookie(
            self._cookie,
            begun,
            max_age=LOGIN_SECONDS,
            path="/",
            secure=self._is_secure,
            httponly=True,
            samesite="lax",
        )
        return answer

    async def _back(self, request: Request) -> Response:
        try:
            query = dict(reversed(request.query_params.multi_items()))
            vouched = await self._service.came_back(
                request.cookies.get(self._cookie, ""), self._url_back(request), query
            )
            who = self._who(vouched)
        except PolicyError as error:
            return self._refused(403, error)
        # A page and no redirect: on a way that began at another site the browser would keep the session's cookie back.
        answer = self._admit(who, self._pages.response("logged_in.html.j2", who=who.who))
        answer.headers["Refresh"] = "0; url=/"
        answer.delete_cookie(self._cookie, path="/", secure=self._is_secure, httponly=True, samesite="lax")
        return answer

    def _who(self, vouched: Vouched) -> LoggedIn:
        """What somebody is here.

        Raises:
            PolicyError: nobody.
        """
        section = self._section
        names = vouched.texts(section.name_claim)
        if len(names) != 1 or (section.name_claim == _EMAIL and vouched.claims.get(_VERIFIED) is not True):
            raise PolicyError(
                f"the login service does not say your name for certain ({section.name_claim}): ask who runs it"
            )
        name = person_name(names[0])
        role = section.role_of((name,) if section.role_claim is None else vouched.texts(section.role_claim))
        if role is None:
            log.warning("%s may not log in at the dashboard, says `openid` in server.yaml", name)
            raise PolicyError(f"{name} may not log in here: `openid` in server.yaml says who may")
        return LoggedIn(role, name, subject=vouched.subject)

    def _url_back(self, request: Request) -> str:
        """This server's own, by the name that the guard has let through."""
        return f"{'https' if self._is_secure else 'http'}://{request.headers['host']}{BACK}"

    def _refused(self, status: int, error: PolicyError) -> Response:
        # Any stranger can be refused as often as they like, and the log is rotated: what operators did stands in it.
        self._untold += 1
        if time.monotonic() - self._told_at >= _TOLD_SECONDS:
            more = f" ({count_text(self._untold, 'login')} since the last such line)" if self._untold > 1 else ""
            log.warning("a login by OpenID Connect was refused: %s%s", error, more)
            self._told_at, self._untold = time.monotonic(), 0
        return self._pages.response("not_logged_in.html.j2", status, problem=safe_text(str(error)))
