"""A site's loop in a thread of the test, with an app and a connection of the test's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey, generate_private_key
from fleet_server import wait_until
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.app.metadata import Metadata
from flwr.proto.message_pb2 import ObjectTree

from sealora_client.fleet.connection import Delivery, FleetConnection
from sealora_client.fleet.flower import Reply
from sealora_client.fleet.installed_app import InstalledApp
from sealora_client.fleet.link import PART, Link
from sealora_client.fleet.loop import Connection, FleetLoop
from sealora_client.fleet.polling import Backoff, PollInterval
from sealora_client.fleet.session_record import SessionRecord
from sealora_client.prometheus import SiteMetrics
from sealora_common.health.status import Health

App = Callable[[Message, Context], Message]
HELLO = "query.hello"


class CountingApp:
    """Answers every message with how many it has had; remembers them."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.contexts: list[Context] = []

    def __call__(self, message: Message, context: Context) -> Message:
        self.asked.append(message.metadata.message_type)
        self.contexts.append(context)
        content = RecordDict({"config": ConfigRecord({"payload": str(len(self.asked)).encode()})})
        return Message(content, reply_to=message)


class FleetSite:
    """A site at work while it is entered; quick to poll and to try again."""

    def __init__(
        self,
        directory: Path,
        server: str,
        app: App | None = None,
        *,
        key: EllipticCurvePrivateKey | None = None,
        connection: Connection | None = None,
        settle: float = 0.0,
        longest_fetch: float = 7200.0,
        longest_pause: float = 7200.0,
        on_sending: Callable[[Reply], None] = lambda reply: None,
    ) -> None:
        self.app = CountingApp() if app is None else app
        self.key = key or new_key()
        self.health = Health(PART)
        self.metrics = SiteMetrics("berlin")
        self.record = SessionRecord(directory, server)
        self.connection = connection or FleetConnection(server, self.key, None)
        self.loop = FleetLoop(
            self.connection,
            InstalledApp(self.app, directory, self.metrics),
            session=self.record,
            link=Link(server, self.health),
            metrics=self.metrics,
            interval=PollInterval(shortest=0.02, longest=0.05),
            backoff=Backoff(first=0.02, longest=0.1),
            settle=settle,
            longest_fetch=longest_fetch,
            longest_pause=longest_pause,
            on_sending=on_sending,
        )
        self._thread = threading.Thread(target=self.loop.run, daemon=True)

    def __enter__(self) -> FleetSite:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.loop.stop()
        self._thread.join(timeout=15)
        assert not self._thread.is_alive(), "the loop does not stop"

    @property
    def is_over(self) -> bool:
        """Whether the loop has ended by itself."""
        return not self._thread.is_alive()

    def sample(self, name: str, **labels: str) -> float:
        """A metric's value, 0 if it was never counted."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def new_key() -> EllipticCurvePrivateKey:
    """A fresh node key."""
    return generate_private_key(SECP384R1())


def payload_of(message: Message) -> bytes:
    """The payload of an answer."""
    value = message.content.config_records["config"]["payload"]
    assert isinstance(value, bytes)
    return value


def refusal_of(message: Message) -> str:
    """The sentence of a refusal."""
    value = message.content.config_records["config"]["error"]
    assert isinstance(value, str)
    return value


def delivery(number: int = 1, ttl: float = 60.0, age: float = 0.0) -> Delivery:
    """A message to train, to node 7, that nobody has fetched yet."""
    metadata = Metadata(
        run_id=1,
        message_id=f"{number:064x}",
        src_node_id=1,
        dst_node_id=7,
        reply_to_message_id="",
        group_id="",
        created_at=time.time() - age,
        ttl=ttl,
        message_type="train",
    )
    return Delivery(metadata, ObjectTree())


def content(number: int = 0) -> RecordDict:
    return RecordDict({"config": ConfigRecord({"payload": number})})


def joined(server, site) -> int:
    node = server.node_of(site.key)
    assert node is not None
    wait_until(lambda: server.status_of(node) == "online")
    return node
