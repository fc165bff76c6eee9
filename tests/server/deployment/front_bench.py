"""A front, embedded or nginx, in a process of its own, with a SuperLink behind it that does as a test says.

with started_front("nginx", directory, limits) as front:
    front.client().post("/v1/fleet/pull-messages", content=b"...")
    front.superlink.requests
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import uvicorn
import yaml
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from sealora_server.deployment.config import LimitsSection
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.front.embedded import FrontSettings
from sealora_server.deployment.front.nginx import prepare_nginx
from sealora_server.deployment.initialise import initialise
from sealora_server.deployment.processes.sockets import listen_tcp, listen_unix

HAS_NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is not None
KINDS = ["embedded", pytest.param("nginx", marks=pytest.mark.skipif(not HAS_NGINX, reason="nginx is not installed"))]
MODULES = {
    "embedded": "sealora_server.deployment.front.embedded",
    "nginx": "sealora_server.deployment.front.nginx",
}


@dataclass
class Seen:
    """A request as the SuperLink got it."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = b""
    whole: bool = False


@dataclass
class FakeSuperLink:
    """Answers on a Unix socket; `answer` may be replaced by a test."""

    listener: socket.socket
    requests: list[Seen] = field(default_factory=list)
    first_chunk: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    answer: Callable[[Request, Seen], Awaitable[Response]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        seen = Seen(request.method, request.url.path, request.url.query, dict(request.headers))
        self.requests.append(seen)
        with contextlib.suppress(ClientDisconnect):
            async for chunk in request.stream():
                seen.body += chunk
                if chunk:
                    self.first_chunk.set()
            seen.whole = True
        answer = self.answer or _echo
        await (await answer(request, seen))(scope, receive, send)

    async def slowly(self, request: Request, seen: Seen) -> Response:
        """Sends "first", then waits for `go_on`, then sends "second"."""

        async def chunks() -> AsyncIterator[bytes]:
            yield b"first"
            while not self.go_on.is_set():
                await asyncio.sleep(0.01)
            yield b"second"

        return StreamingResponse(chunks())

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Serves from a thread."""
        server = uvicorn.Server(uvicorn.Config(self, loop="asyncio", lifespan="off", log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [self.listener]})
        thread.start()
        try:
            yield
        finally:
            self.go_on.set()
            server.should_exit = server.force_exit = True
            thread.join(timeout=10)


async def _echo(request: Request, seen: Seen) -> Response:
    return Response(seen.body, headers={"flwr-answer": "yes", "content-type": "application/protobuf"})


@dataclass
class StartedFront:
    """A front that serves."""

    kind: str
    process: subprocess.Popen[bytes]
    port: int
    ca: Path
    server: ServerDirectory
    superlink: FakeSuperLink

    def client(self, **options: float) -> httpx.Client:
        """A client that trusts the server's authority."""
        context = ssl.create_default_context(cafile=str(self.ca))
        return httpx.Client(base_url=f"https://localhost:{self.port}", verify=context, trust_env=False, **options)  # type: ignore[arg-type]

    def connect(self) -> ssl.SSLSocket:
        """A bare TLS connection."""
        context = ssl.create_default_context(cafile=str(self.ca))
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return context.wrap_socket(plain, server_hostname="localhost")


@contextlib.contextmanager
def started_front(
    kind: str, directory: Path, limits: LimitsSection, *, superlink_is_up: bool = True
) -> Iterator[StartedFront]:
    """Starts a front of this kind in `directory`."""
    port = _free_port()
    server, _ = initialise(directory, ["localhost"], listen=f"127.0.0.1:{port}")
    values = yaml.safe_load(server.config_file.read_text()) | {"limits": limits.model_dump()}
    server.config_file.write_text(yaml.safe_dump(values))
    server = ServerDirectory(server.config_file)
    server.sockets.mkdir()
    superlink = FakeSuperLink(listen_unix(server.fleet_socket))
    with contextlib.ExitStack() as stack:
        if superlink_is_up:
            stack.enter_context(superlink.serving())
        else:
            superlink.listener.close()
        process = stack.enter_context(_process(kind, server, limits))
        front = StartedFront(kind, process, port, server.path / "tls" / "ca.pem", server, superlink)
        _wait_until_up(front)
        yield front


@contextlib.contextmanager
def _process(kind: str, server: ServerDirectory, limits: LimitsSection) -> Iterator[subprocess.Popen[bytes]]:
    descriptors: tuple[int, ...] = ()
    with contextlib.ExitStack() as stack:
        if kind == "embedded":
            listener = stack.enter_context(listen_tcp(server.config.listen))
            descriptors = (listener.fileno(),)
            settings = FrontSettings(
                supervisor=os.getpid(),
                listener=listener.fileno(),
                fleet_socket=server.fleet_socket,
                certificate=server.certificate,
                key=server.key,
                limits=limits,
                log="text",
            ).model_dump_json()
        else:
            settings = prepare_nginx(server).model_dump_json()
        log = stack.enter_context((server.path / "front.log").open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", MODULES[kind]],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=descriptors,
        )
        assert process.stdin is not None
        process.stdin.write(settings.encode())
        process.stdin.close()
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=15)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _wait_until_up(front: StartedFront) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with front.client(timeout=5) as client:
                client.get("/healthz")
            front.superlink.requests.clear()
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline, (front.server.path / "front.log").read_text()
            assert front.process.poll() is None, (front.server.path / "front.log").read_text()
            time.sleep(0.05)
