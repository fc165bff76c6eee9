"""A server that speaks the Fleet API over plain HTTP, and lies where a test says so.

    with LyingServer() as server:
        server.lies["pull-messages"] = lambda asked, request: asked.drip(b"\\0" * 1000, every=1.0)

Where there is no lie it is honest: it opens a session for node `NODE`, hands out `order`, and keeps what is pushed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message.message import make_message
from flwr.app.metadata import Metadata
from flwr.common.serde import message_to_proto
from flwr.proto import fleet_pb2, heartbeat_pb2, message_pb2
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree

NODE = 7
RESPONSES: dict[str, Any] = {
    "register-node": fleet_pb2.RegisterNodeFleetResponse,
    "activate-node": fleet_pb2.ActivateNodeResponse,
    "deactivate-node": fleet_pb2.DeactivateNodeResponse,
    "send-node-heartbeat": heartbeat_pb2.SendNodeHeartbeatResponse,
    "pull-messages": fleet_pb2.PullMessagesResponse,
    "push-messages": fleet_pb2.PushMessagesResponse,
    "pull-object": message_pb2.PullObjectResponse,
    "push-object": message_pb2.PushObjectResponse,
    "confirm-message-received": message_pb2.ConfirmMessageReceivedResponse,
}
REQUESTS: dict[str, Any] = {
    "pull-object": message_pb2.PullObjectRequest,
    "push-messages": fleet_pb2.PushMessagesRequest,
}


class Asked(BaseHTTPRequestHandler):
    """One request, and ways to answer it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        action = self.path.rpartition("/")[2]
        owner = self.server.owner
        owner.asked.append(action)
        lie = owner.lies.get(action)
        with suppress(OSError):  # whoever asked is gone
            if lie is not None:
                lie(self, content)
            else:
                self.proto(owner.honestly(action, content))

    def proto(self, message: Any) -> None:
        """Answers with a protobuf message."""
        self.whole(message.SerializeToString())

    def whole(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Answers with these bytes."""
        self.head(len(content), status, headers)
        self.wfile.write(content)

    def head(self, length: int, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Begins an answer that says it has so many bytes."""
        self.send_response(status)
        for name, value in {"content-length": str(length), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def drip(self, content: bytes, every: float) -> None:
        """Sends these bytes one by one, `every` so many seconds."""
        for byte in content:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(every)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: LyingServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: whoever asked hung up."""


class LyingServer:
    """Serves at `address` while it is entered.

    Attributes:
        lies: for the last part of a path, what answers it.
        asked: the last parts of all paths so far.
        orders: metadata and tree of the messages that are handed out.
        objects: the bytes of their objects.
        replies: what came back, by the id of the message it answers.
    """

    def __init__(self) -> None:
        self.lies: dict[str, Callable[[Asked, bytes], None]] = {}
        self.asked: list[str] = []
        self.orders: list[fleet_pb2.PullMessagesResponse] = []
        self.objects: dict[str, bytes] = {}
        self.replies: dict[str, Any] = {}
        self._server = _Server(("127.0.0.1", 0), Asked)
        self._server.owner = self
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> LyingServer:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def order(self, number: int = 1, content: RecordDict | None = None) -> fleet_pb2.PullMessagesResponse:
        """An honest answer to a pull: a greeting with this content, whose objects are there; not handed out yet."""
        message = greeting(number, content)
        objects = get_all_nested_objects(message)
        self.objects |= {object_id: value.deflate() for object_id, value in objects.items()}
        message.metadata.__dict__["_message_id"] = message.object_id
        return fleet_pb2.PullMessagesResponse(
            messages_list=[message_to_proto(message)], message_object_trees=[get_object_tree(message)]
        )

    def honestly(self, action: str, content: bytes) -> Any:
        """What an honest server answers."""
        response = RESPONSES[action]()
        if action == "activate-node":
            response.node_id = NODE
        elif action == "send-node-heartbeat":
            response.success = True
        elif action == "pull-messages" and self.orders:
            response = self.orders.pop(0)
        elif action == "pull-object":
            asked = REQUESTS[action].FromString(content).object_id
            response.object_found = asked in self.objects
            response.object_available = response.object_found
            response.object_content = self.objects.get(asked, b"")
        elif action == "push-messages":
            (reply,) = REQUESTS[action].FromString(content).messages_list
            self.replies[reply.metadata.reply_to_message_id] = reply
        elif action == "push-object":
            response.stored = True
        return response


def greeting(number: int = 1, content: RecordDict | None = None) -> Message:
    """A message to node `NODE`."""
    metadata = Metadata(
        run_id=number,
        message_id="",
        src_node_id=1,
        dst_node_id=NODE,
        reply_to_message_id="",
        group_id="",
        created_at=time.time(),
        ttl=60.0,
        message_type="query.hello",
    )
    metadata.delivered_at = ""
    return make_message(metadata, content or RecordDict({"config": ConfigRecord({"payload": b"hello"})}))
