"""A small application on the shared room: a page with one live part, behind a login, in a process or in memory."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sealora_common.web.event_stream import EventStreams
from sealora_common.web.guard import PageGuard
from sealora_common.web.login import ForgedFormError, Login, LoginGate, checked_form, forged_form, one_token, session_of
from sealora_common.web.pages import Pages
from sealora_common.web.sessions import Role, Sessions

TOKEN = "correct-horse-battery-staple"
PAGE = """
{% extends "base.html.j2" %}
{% block title %}{{ name }}{% endblock %}
{% block content %}
<p id="said">{{ said }}</p>
<p id="when">{{ moment(1735689600.0) }}</p>
<div class="wide" tabindex="0" role="region" aria-label="Numbers"><table><thead><tr>
{% for column in range(30) %}<th scope="col">column {{ column }}</th>{% endfor %}
</tr></thead></table></div>
{% endblock %}
"""


@dataclass
class ShownApp:
    """What a test changes while it is shown."""

    said: str = "at first"
    name: str = "A page"
    streams: EventStreams = field(default_factory=lambda: EventStreams(every=0.05, heartbeat=0.2))
    sessions: Sessions = field(default_factory=Sessions)
    rendered: int = 0
    did: list[str] = field(default_factory=list)

    def app(self, *names: str, is_secure: bool = False, mark: str = "test") -> PageGuard:
        """The application as a server's is put together."""
        pages = Pages("sealora_common.web", "Sealora test", (("/", "Start"),))
        template = pages._environment.from_string(PAGE)
        holder = one_token(TOKEN, Role.READER, "whoever")
        login = Login(pages, self.sessions, holder, "It is in the file token.", mark, is_secure=is_secure)

        async def page(request: Request) -> Response:
            text = template.render(session=session_of(request), live="/events", said=self.said, name=self.name)
            return Response(text, media_type="text/html")

        async def events(request: Request) -> Response:
            session = session_of(request)
            return self.streams.response(
                request, "page", self._parts, is_welcome=lambda: self.sessions.is_open(session)
            )

        async def act(request: Request) -> Response:
            self.did.append((await checked_form(request)).get("what", ""))
            return PlainTextResponse("done")

        async def fail(request: Request) -> Response:
            raise ValueError(f"secret {request.query_params}")

        routes = [
            Route("/", page),
            Route("/events", events),
            Route("/act", act, methods=["POST"]),
            Route("/fail", fail),
        ]
        routes += login.routes() + pages.assets.routes()
        inner = Starlette(routes=routes, exception_handlers={ForgedFormError: forged_form})
        return PageGuard(LoginGate(inner, login), names, scheme="https" if is_secure else "http", longest_body=4096)

    def _parts(self) -> dict[str, str]:
        self.rendered += 1
        return {"said": self.said}


@contextmanager
def served(app: PageGuard, streams: EventStreams) -> Iterator[str]:
    """Its URL while it is served by a thread, as `answer_requests` serves."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = uvicorn.Config(app, http="h11", ws="none", log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        streams.close()
        server.should_exit = True
        thread.join(10)
