"""The dashboard's acts on a server's real operations, whose SuperLink and ServerApps do what a test says."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
import yaml

from sealora_common.web.login import one_token
from sealora_common.web.sessions import Role
from sealora_common.web.token_file import token_of
from sealora_server.dashboard.acts.once import Forms
from sealora_server.dashboard.login.persons import PersonTokens
from sealora_server.dashboard.operated import Operated
from sealora_server.dashboard.watched import Watched
from sealora_server.deployment.config import DashboardSection
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


READER = "what all readers know"


class Acting:
    """The server and its dashboard."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.loop = asyncio.new_event_loop()
        self.operations = bench.operations()
        self.persons = PersonTokens(bench.server.path / "people")
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

    @contextmanager
    def served(self, *names: str, **section: Any) -> Iterator[str]:
        """The URL of its dashboard, by the section `dashboard` of server.yaml, while it is served by a thread."""
        server = self.bench.server
        operated = Operated(server, DashboardSection.model_validate(section), self.ask, self.status)
        reader = one_token(READER, Role.READER, "reader")
        dashboard, app = operated.dashboard(Watched([server.path]), reader, names, "test", is_secure=False)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            config = uvicorn.Config(
                app, http="h11", ws="none", log_config=None, proxy_headers=False, timeout_graceful_shutdown=2
            )
            serving = uvicorn.Server(config)
            thread = threading.Thread(target=serving.run, kwargs={"sockets": [taken]}, daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{taken.getsockname()[1]}"
            finally:
                dashboard.streams.close()
                serving.should_exit = True
                thread.join(10)

    def hand(self, url: str, name: str, role: Role = Role.OPERATOR) -> Hand:
        """Somebody who is logged in, and sends by hand what pages send."""
        hand = Hand(base_url=url, headers={"Origin": url}, timeout=30, follow_redirects=True)
        assert hand.post("/login", data={"token": self.token(name, role)}).status_code == 200
        return hand


class Hand(httpx.Client):
    """A browser without a screen."""

    @property
    def csrf(self) -> str:
        """What the forms of this session carry."""
        return self.get("/").text.split('name="csrf" value="')[1].split('"')[0]

    def sends(self, path: str, files: dict[str, bytes] | None = None, **fields: str) -> httpx.Response:
        """A form of a page of this session, which was not sent before."""
        data = {"csrf": self.csrf, "form": Forms.new(), **fields}
        sent = {name: (name, content) for name, content in (files or {}).items()}
        return self.post(path, data=data, files=sent or None)

    def submits(self, bench: Bench, name: str = "r1", **changes: Any) -> httpx.Response:
        """A run."""
        act = bench.submission(name=name, **changes)
        return self.sends("/submit", {"recipe": act.recipe.encode(), "roster": act.roster.encode()}, name=name)


@contextmanager
def acting(bench: Bench, **settings: Any) -> Iterator[Acting]:
    """A server, at work in a thread, whose `server.yaml` has these settings."""
    bench.server.config_file.write_text(yaml.safe_dump({"hosts": ["localhost"], "dashboard": {}, **settings}))
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
