"""A SuperLink on a Unix socket, with a run and its nodes, whose answers are in the tests' hands."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import uvicorn
from fleet_bench import Answer, Answered, FleetBench, Headers
from flwr.proto.fleet_pb2 import PushMessagesResponse
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
from google.protobuf.message import Message as Proto

from sealora_server.deployment.config import LimitsSection
from sealora_server.deployment.processes.sockets import listen_unix
from sealora_server.deployment.superlink.process import SuperLinkSettings, gated, superlink_app


class Bench(FleetBench):
    """A SuperLink on a socket, with a run, and its nodes."""

    def __init__(self, socket: Path) -> None:
        settings = SuperLinkSettings(
            supervisor=1,
            database=FLWR_IN_MEMORY_DB_NAME,
            superexec_secret="ab" * 32,
            superlink_socket=0,
            fleet_socket=0,
            limits=LimitsSection(),
            log="text",
        )
        app = superlink_app(settings)
        super().__init__()
        self.state = app.state.linkstate_factory.state()
        self.listener = listen_unix(socket)
        gate = gated(app, str(socket), LimitsSection())
        self.fleet, self.messages = gate.fleet, gate.messages
        options: dict[str, Any] = {"loop": "asyncio", "lifespan": "off", "log_config": None}
        self.server = uvicorn.Server(uvicorn.Config(self._watched(gate), **options))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})
        self.asked: list[str] = []
        self.thread.start()
        self.own, self.the_run = self.node(), self.run()

    def _watched(self, gate: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.loop = asyncio.get_running_loop()
            self.asked.append(scope["path"].rpartition("/")[2])
            await gate(scope, receive, send)

        return app

    def ask(self, action: str, body: Proto | bytes, node: int | None, more: Headers | None = None) -> Answered:
        return asyncio.run_coroutine_threadsafe(self.post(action, body, node, more), self.loop).result(20)

    def two(self) -> list[int]:
        """This node and another."""
        return [self.own, self.node()]

    def stop(self) -> None:
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(timeout=10)

    def begin(self, answer: Answer, node: int | None = None) -> str:
        """Pushes an answer's envelope; its session."""
        pushed = self.ask("push-messages", answer.request, node or self.own)
        assert pushed.status == 200
        return PushMessagesResponse.FromString(pushed.body).session_id

    def add(self, session: str, name: str, content: bytes) -> None:
        part = PushObjectRequest(
            node=Node(node_id=self.own), run_id=self.the_run, session_id=session, object_id=name, object_content=content
        )
        assert self.ask("push-object", part, self.own).body != b""
