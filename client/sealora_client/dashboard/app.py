"""Which page is where, and what a form of one does. Everything is behind the login; acts want their session's form."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sealora_client.dashboard.background_checks import BackgroundChecks
from sealora_client.dashboard.follow import FactsReader
from sealora_client.dashboard.priced import Pricing
from sealora_client.dashboard.views import PARTS, PATHS, TITLES, SiteViews
from sealora_client.operator.departure import When, depart, take_part_again
from sealora_common.errors import SealoraError
from sealora_common.web.event_stream import EventStreams
from sealora_common.web.guard import PageGuard, refusal
from sealora_common.web.login import (
    ForgedFormError,
    Login,
    LoginGate,
    checked_form,
    forged_form,
    one_token,
    session_of,
)
from sealora_common.web.pages import Pages
from sealora_common.web.sessions import Role, Sessions

LONGEST_RECIPE = 2**20
"""Bytes of a form: of a recipe's text, as a form writes it."""
_MOST_LISTENERS = 64
_WHEN: Mapping[str, When] = {"after-round": "after-round", "now": "now"}


class SitePages:
    """The application.

    Attributes:
        streams: to be closed when the server is to stop.

    Args:
        directory: the site's.
        site: its name.
        token: what whoever logs in has to know.
        token_file: where that stands.
        mark: of the cookie: the port.
        is_secure: whether browsers ask by https.
    """

    def __init__(self, directory: Path, site: str, token: str, token_file: Path, mark: str, *, is_secure: bool) -> None:
        self._directory = directory
        self._site = site
        self._follower = FactsReader(directory)
        self._pricing = Pricing(directory)
        self._checks = BackgroundChecks(directory)
        self.streams = EventStreams(most=_MOST_LISTENERS)
        self._pages = Pages(
            "sealora_client.dashboard", f"Sealora site {site}", tuple((PATHS[page], TITLES[page]) for page in PARTS)
        )
        self._views = SiteViews(self._pages, self._pricing, self._checks)
        self._sessions = Sessions()
        self._login = Login(
            self._pages,
            self._sessions,
            one_token(token, Role.OPERATOR, "site operator"),
            f"It is in {token_file}, which this site's account alone can read.",
            mark,
            is_secure=is_secure,
        )
        with files("sealora_client.dashboard").joinpath("assets", "choose.js").open("rb") as stream:
            self._choose = stream.read(-1)

    def guarded(self, names: list[str], *, is_secure: bool) -> ASGIApp:
        """What answers requests.

        Args:
            names: by which this machine may be asked, beside its addresses and `localhost`.
            is_secure: whether browsers ask by https.
        """
        app = Starlette(
            routes=[
                *self._login.routes(),
                *self._pages.assets.routes(),
                Route("/choose.js", self._script),
                *(Route(PATHS[page], self._page(page)) for page in PARTS),
                Route("/events/{page}", self._events),
                Route("/leave", self._leave, methods=["POST"]),
                Route("/return", self._return, methods=["POST"]),
                Route("/budget/price", self._price, methods=["POST"]),
                Route("/checks/{kind}", self._check, methods=["POST"]),
            ],
            exception_handlers={ForgedFormError: forged_form, SealoraError: _refused, 404: _missing, 405: _missing},
            lifespan=self._lifespan,
        )
        gate = LoginGate(app, self._login)
        return PageGuard(gate, names, scheme="https" if is_secure else "http", longest_body=LONGEST_RECIPE)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self._checks.close()

    def _page(self, page: str) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            parts = {name: Markup(html) for name, html in self._rendered(page)().items()}  # noqa: S704 (escaped as they were rendered)
            return self._pages.response(
                f"{page}.html.j2",
                session=session_of(request),
                live=f"/events/{page}",
                site=self._site,
                title=TITLES[page],
                parts=parts,
            )

        return answer

    def _rendered(self, page: str) -> Callable[[], dict[str, str]]:
        return lambda: self._views.parts(page, self._follower.facts())

    async def _events(self, request: Request) -> Response:
        page = request.path_params["page"]
        if page not in PARTS:
            return refusal(404, "There is no such page.")
        session = session_of(request)
        return self.streams.response(
            request, page, self._rendered(page), is_welcome=lambda: self._sessions.is_open(session)
        )

    async def _script(self, _request: Request) -> Response:
        return Response(self._choose, media_type="text/javascript; charset=utf-8")

    async def _leave(self, request: Request) -> Response:
        fields = await checked_form(request)
        when: When | None = _WHEN.get(fields.get("when", ""))
        if when is None:
            return refusal(400, "When the site is to leave is missing: load the page again.")
        await run_in_threadpool(depart, self._directory, when)
        return RedirectResponse("/", status_code=303)

    async def _return(self, request: Request) -> Response:
        await checked_form(request)
        await run_in_threadpool(take_part_again, self._directory)
        return RedirectResponse("/", status_code=303)

    async def _price(self, request: Request) -> Response:
        fields = await checked_form(request)
        text = fields.get("recipe", "").strip()
        if not text:
            text = await run_in_threadpool(_own_recipe, self._directory)
        self._pricing.begin(text)
        return RedirectResponse("/budget", status_code=303)

    async def _check(self, request: Request) -> Response:
        await checked_form(request)
        kind = request.path_params["kind"]
        if kind not in ("site", "data"):
            return refusal(404, "There is no such check.")
        self._checks.begin(kind)
        return RedirectResponse("/checks", status_code=303)


def _own_recipe(directory: Path) -> str:
    from sealora_common.config import CONFIGURATION, read_file, why_not
    from sealora_common.errors import RecipeError, UnreadableError

    path = directory / "recipe.yaml"
    try:
        return read_file(path, CONFIGURATION.longest).decode("utf-8", "replace")
    except (OSError, UnreadableError) as error:
        raise RecipeError(f"{path}: cannot be read ({why_not(error)}): choose a recipe's file, or paste one") from None


async def _refused(_request: Request, error: Exception) -> Response:
    return refusal(409, str(error))


async def _missing(_request: Request, _error: Exception) -> Response:
    return refusal(404, "There is no such page.")
