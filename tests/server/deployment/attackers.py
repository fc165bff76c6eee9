"""A whole server behind either front, and sites that break the protocol over bare HTTP.

with attacked("nginx", directory) as bench:
    member = Member(bench, 0)
    run, order = member.ordered()
    member.ask("push-messages", request)
"""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from fleet_bench import PROTOBUF, Headers, message_of, signed
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.message_pb2 import ObjectTree, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from google.protobuf.message import Message as Proto
from run_bench import RunBench
from run_bench import recipe as run_recipe
from running_server import make_server, running, until

from sealora_common.recipe import Recipe

LIMITS = {
    "requests_per_second": 100_000,
    "request_burst": 100_000,
    "connections_per_address": 512,
    "node_requests_per_second": 10_000,
    "node_request_burst": 10_000,
    "answer_bytes": 64 * 2**20,
    "superlink_bytes": 256 * 2**20,
}


@contextlib.contextmanager
def attacked(front: str, directory: Path, *, patient: bool = False) -> Iterator[RunBench]:
    """A server behind this front; with `patient`, its runs wait long for an answer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    server, identity = make_server(directory, front=front, listen=listen, limits=LIMITS)
    recipe: Recipe = run_recipe()
    if patient:
        sites = recipe.sites.model_copy(update={"stage_timeout": 600.0, "training_timeout": 600.0})
        recipe = recipe.model_copy(update={"sites": sites})
    with running(server) as process:
        yield RunBench(server, identity, process, recipe)


def superlink_megabytes(bench: RunBench) -> float:
    """What the SuperLink's process has in memory."""
    return float(psutil.Process(bench.pid("superlink")).memory_info().rss) / 2**20


@dataclass
class Stranger:
    """Somebody who reaches the front."""

    bench: RunBench
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.context = ssl.create_default_context(cafile=str(self.bench.server.ca))
        self.client = httpx.Client(
            base_url=f"https://{self.bench.address}", verify=self.context, timeout=60, trust_env=False
        )

    def post(self, action: str, body: bytes, headers: Headers) -> httpx.Response:
        """Sends a request as it is."""
        return self.client.post(
            f"/v1/fleet/{action}", content=body, headers=[(b"content-type", PROTOBUF.encode()), *headers]
        )

    def connect(self) -> ssl.SSLSocket:
        """A bare connection."""
        host, _, port = self.bench.address.rpartition(":")
        return self.context.wrap_socket(socket.create_connection((host, int(port)), timeout=60), server_hostname=host)


@dataclass
class Member(Stranger):
    """A member of the roster that does as it likes; it is connected from the first."""

    number: int = 0
    node: int = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.site = self.bench.federation.sites[self.number]

    def enter(self) -> None:
        """Connects, once the run's roster is known to the server."""
        key = public_key_to_bytes(self.site.key.public_key())
        request = ActivateNodeRequest(public_key=key, heartbeat_interval=60).SerializeToString()

        def activated() -> int:
            answer = self.post("activate-node", request, self.signed())
            return ActivateNodeResponse.FromString(answer.content).node_id if answer.status_code == 200 else 0

        self.node = until(activated, 60)

    def signed(self) -> Headers:
        """Headers of this member, at a new time."""
        return signed(self.site.key, datetime.datetime.now(datetime.UTC).isoformat())

    def ask(self, action: str, request: Proto) -> httpx.Response:
        """Sends a request in this member's name."""
        return self.post(action, request.SerializeToString(), self.signed())

    def pulled(self) -> PullMessagesResponse:
        """What there is for this member."""
        return PullMessagesResponse.FromString(
            self.ask("pull-messages", PullMessagesRequest(node=Node(node_id=self.node))).content
        )

    def ordered(self) -> tuple[int, str]:
        """The run and the name of an order for this member."""
        [message] = until(lambda: self.pulled().messages_list, 60)
        return message.metadata.run_id, message.metadata.message_id

    def answer(
        self, run: int, order: str, payload: bytes, source: int | None = None, destination: int = 1
    ) -> tuple[PushMessagesRequest, dict[str, bytes]]:
        """An envelope, and the parts that belong to it."""
        message: Any = message_of(run, self.node if source is None else source, destination, order, payload, 60.0)
        request = PushMessagesRequest(
            node=Node(node_id=self.node),
            messages_list=[message_to_proto(remove_content_from_message(message))],
            message_object_trees=[get_object_tree(message)],
            clientapp_runtime_list=[0.0],
        )
        return request, {name: each.deflate() for name, each in get_all_nested_objects(message).items()}

    def spread(self, run: int, order: str, number: int, parts: int) -> PushMessagesRequest:
        """An envelope that announces so many parts that never come."""
        request, _ = self.answer(run, order, b"%d" % number)
        root = request.message_object_trees[0]
        root.children.extend(ObjectTree(object_id=f"{number:032x}{part:032x}") for part in range(parts - 3))
        return request

    def push(self, run: int, order: str, payload: bytes) -> list[int]:
        """Pushes an answer's largest part and no other; the statuses."""
        request, contents = self.answer(run, order, payload)
        began = self.ask("push-messages", request)
        if began.status_code != 200:
            return [began.status_code]
        session = PushMessagesResponse.FromString(began.content).session_id
        name = max(contents, key=lambda each: len(contents[each]))
        part = PushObjectRequest(
            node=Node(node_id=self.node), run_id=run, session_id=session, object_id=name, object_content=contents[name]
        )
        return [200, self.ask("push-object", part).status_code]


@contextlib.contextmanager
def meanwhile(work: Any, count: int) -> Iterator[None]:
    """So many threads do `work(stopping)` until the block ends."""
    stopping = threading.Event()
    threads = [threading.Thread(target=work, args=(stopping,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join(timeout=30)
