"""A SuperLink in a thread of the test, and the ServerApp's side of it in the test's own hands.

    with FleetServer(keyed=True) as server:
        server.register(key)
        run = server.start_run()
        message = server.order(run, server.node_of(key), "query.hello", RecordDict())
        reply = server.reply(run, message)

It is the Fleet API that our server serves, over plain HTTP; with `keyed=False` Flower's own, which knows no keys. Its
state outlives `stop`, as a database file would.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from flwr.app import Message, RecordDict
from flwr.app.message.message import make_message
from flwr.app.metadata import Metadata
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, SUPERLINK_NODE_ID
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID, TaskType
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.superlink.config_loader import get_federation_manager, get_objectstore_linkstate_factories
from flwr.superlink.main import create_app
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sealora_server.deployment.config import LimitsSection
from sealora_server.deployment.superlink.fleet import Fleet

Fault = Callable[[Request], Response | None]


class FleetServer:
    """Flower's Fleet API at `address` while it is entered.

    Attributes:
        asked: the paths of all requests so far.
        tls: certificate and key, for the next start.
        fault: if set, may answer a request in Flower's place; what it returns is the answer, None lets Flower answer.
    """

    def __init__(self, *, keyed: bool = False, tls: tuple[Path, Path] | None = None) -> None:
        self._keyed = keyed
        self.tls = tls
        self._port = 0
        self.forget()
        self._over = threading.Event()
        self._orders: dict[str, Message] = {}
        self.asked: list[str] = []
        self.fault: Fault | None = None
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> FleetServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.stop()

    @property
    def address(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    def forget(self) -> None:
        """Loses the whole state, for the next start."""
        _, self._factory = get_objectstore_linkstate_factories(FLWR_IN_MEMORY_DB_NAME, get_federation_manager())
        self.state: Any = self._factory.state()

    def start(self) -> None:
        """Starts it, the second time on the same port."""
        config = uvicorn.Config(
            self._served,
            host="127.0.0.1",
            port=self._port,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",
        )
        if self.tls is not None:
            config.ssl_certfile, config.ssl_keyfile = map(str, self.tls)
        self._fleet, self._flower = Fleet(self.state, LimitsSection(), lambda run: None), create_app()
        self._flower.state.linkstate_factory = self._factory
        self._flower.state.enable_supernode_auth = False
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: bool(self._server and self._server.started))
        self._port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Stops it, and drops all connections."""
        if self._server is not None:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._fleet.questions.close)
                time.sleep(0.05)
            self._server.force_exit = True
            self._server.should_exit = True
            self._thread.join(timeout=10)
            self._server = self._loop = None

    async def _served(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        self.asked.append(scope["path"])
        answer = self.fault(Request(scope)) if self.fault is not None else None
        served = answer or (self._fleet if self._keyed else self._flower)
        await served(scope, receive, send)

    # What an operator does

    def register(self, key: EllipticCurvePrivateKey) -> int:
        """Registers a node's key; returns the node's id."""
        return int(self.state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, public_key_to_bytes(key.public_key()), 30))

    def node_of(self, key: EllipticCurvePrivateKey) -> int | None:
        """The node that has this key."""
        node: int | None = self.state.get_node_id_by_public_key(public_key_to_bytes(key.public_key()))
        return node

    def status_of(self, node_id: int) -> str:
        """`registered`, `online`, `offline` or `unregistered`."""
        return str(self.state.get_node_info(node_ids=[node_id])[0].status)

    # What a ServerApp does

    def start_run(self) -> int:
        """A run that is running; returns its id."""
        run_id = self.state.create_run(None, None, None, {}, NOOP_FEDERATION_ID, None, None, TaskType.SERVER_APP)
        task_id = self.state.get_run_info(run_ids=[run_id])[0].primary_task_id
        assert self.state.claim_task(task_id)
        assert self.state.activate_task(task_id)
        self.keep_alive(task_id)
        return int(run_id)

    def keep_alive(self, task_id: int) -> None:
        """Sends a ServerApp's heartbeats; without them Flower takes it for dead after a minute."""

        def beat() -> None:
            while not self._over.wait(10):
                self.state.acknowledge_task_heartbeat(task_id)

        threading.Thread(target=beat, daemon=True).start()

    def stop_run(self, run_id: int) -> None:
        """Ends a run."""
        assert self.state.stop_run(run_id)

    def order(self, run_id: int, node_id: int, action: str, content: RecordDict, ttl: float = 60.0) -> str:
        """Pushes a message for a node; returns its id."""
        metadata = Metadata(
            run_id=run_id,
            message_id="",
            src_node_id=SUPERLINK_NODE_ID,
            dst_node_id=node_id,
            reply_to_message_id="",
            group_id="",
            created_at=time.time(),
            ttl=ttl,
            message_type=action,
        )
        metadata.delivered_at = ""
        message = make_message(metadata, content)
        metadata.__dict__["_message_id"] = message.object_id
        self._store(message)
        assert self.state.store_message_ins(message) is not None
        self._wake()
        self._orders[metadata.message_id] = message
        return metadata.message_id

    def _store(self, message: Message) -> None:
        self.state.object_store.preregister(message.metadata.run_id, get_object_tree(message))
        for object_id, value in get_all_nested_objects(message).items():
            self.state.object_store.put(object_id, value.deflate())

    def _wake(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # it has just been stopped
                self._loop.call_soon_threadsafe(self._fleet.questions.wake)

    def hand_out_again(self, message_id: str) -> None:
        """What a database does that was set back: the message counts as not delivered, and is whole."""
        self._store(self._orders[message_id])
        order = self.state.message_ins_store.setdefault(message_id, self._orders[message_id])
        order.metadata.delivered_at = ""
        self._wake()

    def reply(self, run_id: int, message_id: str, timeout: float = 30.0) -> Message:
        """Waits for the reply to a message."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for envelope in self.state.get_message_res({message_id}, run_id):
                if envelope.has_error():
                    return envelope
                return self._whole(envelope, deadline)
            time.sleep(0.02)
        raise AssertionError(f"no reply within {timeout} s")

    def _whole(self, envelope: Message, deadline: float) -> Message:
        store = self.state.object_store
        tree = store.get_object_tree(envelope.metadata.message_id)
        ids = [node.object_id for node in iterate_object_tree(tree)]
        while any(not store.get(object_id) for object_id in ids):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        message = inflate_object_from_contents(tree.object_id, {object_id: store.get(object_id) for object_id in ids})
        assert isinstance(message, Message)
        return message


def wait_until(condition: Callable[[], bool], timeout: float = 30.0) -> None:
    """Waits until `condition` holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
