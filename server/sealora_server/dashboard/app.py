"""The dashboard's pages. Whoever is logged in may read all of them; what may be done is told by roles, see `routes`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Scope

from sealora_common import __version__
from sealora_common.show import quantities
from sealora_common.web.event_stream import EventStreams, Parts
from sealora_common.web.guard import LONGEST_BODY, PageGuard, refusal
from sealora_common.web.login import ForgedFormError, Login, LoginGate, TokenHolder, forged_form, session_of
from sealora_common.web.pages import Pages
from sealora_common.web.sessions import Sessions
from sealora_server.dashboard import figures
from sealora_server.dashboard.facts import Overview, RunFacts
from sealora_server.dashboard.watched import Watched
from sealora_server.view.live.plain_lines import privacy_text
from sealora_server.view.live.progress import rounds_done, seconds_left
from sealora_server.view.told_figure_text import told_name

_WRITERS = ("bytes_text", "count_text", "names_text", "time_text", "epochs_text", "target_text")
OVERVIEW_PARTS = ("notices", "server", "runs")
RUN_PARTS = ("notices", "now", "figures", "sites", "rounds", "traffic", "story")
_GONE = '<p class="lead now">This run is not there any more: it was deleted.</p>'
HINT = "It is in the file that the dashboard named when it was started, on the machine where it runs."


@dataclass(frozen=True)
class Dashboard:
    """What its pages are made with, for routes that are composed with them.

    Attributes:
        watched: what it is of.
        pages: its templates.
        streams: its event streams.
        sessions: of those who are logged in.
        login: how one logs in.
    """

    watched: Watched
    pages: Pages
    streams: EventStreams
    sessions: Sessions
    login: Login

    @classmethod
    def of(cls, watched: Watched, holder: TokenHolder, mark: str, *, is_secure: bool) -> Dashboard:
        """A dashboard of what is watched.

        Args:
            watched: see above.
            holder: whose a token is.
            mark: tells its cookie from those of other servers of the machine.
            is_secure: whether browsers ask by https.
        """

        def login(pages: Pages, sessions: Sessions) -> Login:
            return Login(pages, sessions, holder, HINT, mark, is_secure=is_secure)

        return cls.with_login(watched, login)

    @classmethod
    def with_login(cls, watched: Watched, login: Callable[[Pages, Sessions], Login]) -> Dashboard:
        """The same, with another way to log in, which `login` makes."""
        pages = Pages("sealora_server.dashboard", "Sealora server", (("/", "Overview"),))
        pages.add_globals({name: getattr(quantities, name) for name in _WRITERS} | {"version": __version__})
        pages.add_globals({"has_acts": False})
        sessions = Sessions()
        return cls(watched, pages, EventStreams(), sessions, login(pages, sessions))

    def application(
        self,
        names: Sequence[str],
        scheme: Literal["http", "https"],
        routes: Sequence[BaseRoute] = (),
        *,
        open_paths: Sequence[str] = ("/assets/",),
        longest_body: int | Callable[[Scope], int] = LONGEST_BODY,
        gate: Callable[[ASGIApp], ASGIApp] = lambda app: app,
    ) -> ASGIApp:
        """The application: who may ask, who is logged in, then the pages, and `routes` beside them.

        Args:
            names: by which this machine may be asked.
            scheme: with which browsers ask.
            routes: what else there is to see or to do; each asks `session_of` for the role itself.
            open_paths: see `LoginGate`.
            longest_body: see `PageGuard`.
            gate: stands between the guard and the login.
        """
        inner = Starlette(
            routes=[*routes, *self._routes(), *self.login.routes(), *self.pages.assets.routes()],
            exception_handlers={ForgedFormError: forged_form, 404: _not_found},
        )
        gated = gate(LoginGate(inner, self.login, open_paths))
        return PageGuard(gated, names, scheme=scheme, longest_body=longest_body)

    def _routes(self) -> list[BaseRoute]:
        return [
            Route("/", self._overview),
            Route("/events", self._overview_events),
            Route("/runs/{key}", self._run),
            Route("/runs/{key}/events", self._run_events),
        ]

    # Pages are read from files and rendered: functions that are not `async` run in threads of their own.

    def _overview(self, request: Request) -> Response:
        values = overview_values(self.watched.overview())
        return self._page("overview.html.j2", session=session_of(request), live="/events", **values)

    def _run(self, request: Request) -> Response:
        key = request.path_params["key"]
        run = self.watched.run(key)
        if run is None:
            return _unknown()
        return self._page(
            "run.html.j2", session=session_of(request), live=f"/runs/{quote(key, safe='')}/events", **run_values(run)
        )

    def _page(self, template: str, **values: object) -> Response:
        return HTMLResponse(self.pages.text(template, **values))

    async def _overview_events(self, request: Request) -> Response:
        def parts() -> Parts:
            return self._parts("overview", OVERVIEW_PARTS, overview_values(self.watched.overview()))

        return self.streams.response(request, "overview", parts, is_welcome=self._welcome(request))

    async def _run_events(self, request: Request) -> Response:
        key = request.path_params["key"]
        if not self.watched.has(key):
            return _unknown()

        def parts() -> Parts:
            run = self.watched.run(key)
            if run is None:
                return {**dict.fromkeys(RUN_PARTS, ""), "now": _GONE}
            return self._parts("run", RUN_PARTS, run_values(run))

        return self.streams.response(request, f"run {key}", parts, is_welcome=self._welcome(request))

    def _parts(self, folder: str, names: Sequence[str], values: dict[str, object]) -> Parts:
        return {name: self.pages.text(f"{folder}/{name}.html.j2", **values) for name in names}

    def _welcome(self, request: Request) -> Callable[[], bool]:
        session = session_of(request)
        return lambda: self.login.is_open(session)


def overview_values(overview: Overview) -> dict[str, object]:
    """What the templates of the first page are given."""
    return {
        "where": overview.where,
        "server": overview.server,
        "runs": overview.runs,
        "notices": overview.notices,
    }


def run_values(run: RunFacts) -> dict[str, object]:
    """What the templates of a run's page are given."""
    state = run.state
    return {
        "run": run,
        "state": state,
        "notices": run.notices,
        "privacy": privacy_text(state.started, state) if state.started is not None else "",
        "done": min(1.0, rounds_done(state) / state.rounds) if state.rounds else 0.0,
        "seconds_left": None if run.is_over else seconds_left(state, run.read_at),
        "told_name": told_name(state),
        "told": figures.newest_told(state),
        "told_first": figures.first_told(state),
        "noise": figures.noise_sentence(state),
        "figure_chart": figures.figure_chart(run),
        "survivors_chart": figures.survivors_chart(run),
        "bytes_chart": figures.bytes_chart(run),
        "stages": figures.stage_rows(state),
        "rounds": figures.round_rows(run),
    }


def _unknown() -> Response:
    return refusal(404, "There is no such run here: look at the overview for those there are.")


async def _not_found(request: Request, error: Exception) -> Response:
    return refusal(404, "There is no such page here: begin at the overview.")
