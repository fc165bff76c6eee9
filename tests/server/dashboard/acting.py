"""The dashboard's acts on a server's real operations, whose SuperLink and ServerApps do what a test says."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any

import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sealora_common.web.guard import PageGuard
from sealora_common.web.login import ForgedFormError, LoginGate, forged_form, session_of
from sealora_common.web.pages import Pages
from sealora_common.web.sessions import Role, Sessions
from sealora_common.web.token_file import token_of
from sealora_server.dashboard.acts.doing import Operator
from sealora_server.dashboard.acts.routes import ActRoutes, longest_body
from sealora_server.dashboard.login.openid_login import OPEN
from sealora_server.dashboard.login.persons import Persons
from sealora_server.dashboard.login.proxy import ProxyGate, ProxyWord
from sealora_server.dashboard.login.server_login import ServerLogin
from sealora_server.dashboard.login.settings import OpenIdSection
from sealora_server.deployment.operator.messages import Act, Status
from sealora_server.deployment.operator.person import Person

from run_host import Bench

STATUS = Status(
    up=True,
    address=None,
    hosts=("localhost",),
    server_key="k",
    health=None,
    certificate_expires="2030-01-01T00:00:00+00:00",
    tls="t",
    warnings=(),
    processes=(),
    sites=(),
    runs=(),
)


class Acting:
    """The server and its dashboard."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.loop = asyncio.new_event_loop()
        self.operations = bench.operations()
        self.persons = Persons(bench.server.path / "people")
        self.sessions = Sessions()
        self.asked: list[tuple[Act, Person]] = []

    def token(self, name: str, role: Role = Role.OPERATOR) -> str:
        """Somebody's, made if there is none."""
        return token_of(self.persons.add(role, name))

    def ask(self, act: Act, person: Person) -> Any:
        """As the dashboard asks the server."""
        self.asked.append((act, person))
        return self._done(self.operations.handle(act, person))

    def status(self) -> Status:
        """As the dashboard asks it."""

        async def told() -> Any:
            return self.operations.statuses(frozenset())

        return STATUS.model_copy(update={"runs": self._done(told())})

    def run(self, name: str = "r1") -> Any:
        """What is told of a run."""
        return next(run for run in self.status().runs if run.name == name)

    def _done(self, awaitable: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(awaitable, self.loop)
        return future.result(30)

    def app(self, *names: str, word: ProxyWord | None = None, openid: OpenIdSection | None = None) -> PageGuard:
        """The application."""
        pages = Pages("sealora_server.dashboard", "Sealora server", (("/", "Runs"), ("/submit", "Submit")))
        login = ServerLogin(
            pages,
            self.sessions,
            self.persons.holder,
            "It is in your file.",
            "test",
            proxy=word,
            openid=openid,
            directory=self.bench.server.path,
            is_secure=False,
        )
        acts = ActRoutes(self.bench.server, pages, Operator(self.bench.server, self.ask), self.status)
        template = pages._environment.from_string(START)

        async def start(request: Request) -> Response:
            runs = (await asyncio.to_thread(self.status)).runs
            text = template.render(session=session_of(request), runs=runs, new_form=acts.new_form)
            return Response(text, media_type="text/html")

        routes = [*login.routes(), *pages.assets.routes(), *acts.routes()]
        routes += [Route("/", start), Route("/runs/{run}", start)]
        inner = Starlette(routes=routes, exception_handlers={ForgedFormError: forged_form})
        gate = ProxyGate(LoginGate(inner, login, open_paths=("/assets/", OPEN)), word)
        return PageGuard(gate, names, longest_body=partial(longest_body, login))


START = """
{% extends "base.html.j2" %}
{% from "acts.html.j2" import acts %}
{% block title %}Runs{% endblock %}
{% block content %}
{% for run in runs %}
<section id="{{ run.name }}"><h2>{{ run.name }}: {{ run.condition }}</h2><p>{{ run.said }}</p>
{% if session.role == "operator" %}{{ acts(run, session, new_form) }}{% endif %}
</section>
{% endfor %}
{% endblock %}
"""


@contextmanager
def acting(bench: Bench, **settings: Any) -> Iterator[Acting]:
    """A server, at work in a thread, whose `server.yaml` has these settings."""
    bench.server.config_file.write_text(yaml.safe_dump({"hosts": ["localhost"], **settings}))
    found = Acting(bench)
    thread = threading.Thread(target=found.loop.run_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(found.operations.pause_runs(), found.loop).result(30)
        found.loop.call_soon_threadsafe(found.loop.stop)
        thread.join(10)
        found.loop.close()


@contextmanager
def served(app: PageGuard) -> Iterator[str]:
    """Its URL while it is served by a thread."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = uvicorn.Config(
            app, http="h11", ws="none", log_config=None, proxy_headers=False, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
