"""A connection to a server that does what a test says: what the real one cannot be made to do at will."""

from __future__ import annotations

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message.message import make_message

from sealora_client.fleet.connection import Delivery
from sealora_client.fleet.errors import LostConnectionError, SessionRefusedError
from sealora_client.fleet.flower import Reply

SERVER = "https://server.example:9443"
LOST = LostConnectionError("no connection")


class FakeConnection:
    """Hands out `inbox`; each call first raises the next of what `failures` holds for it, if it holds something."""

    def __init__(self, **failures: list[BaseException]) -> None:
        self.failures: dict[str, list[BaseException]] = failures
        self.inbox: list[Delivery] = []
        self.pushed: list[Reply] = []
        self.calls: list[str] = []
        self.held: list[bool] = []
        """Whether each question might be held."""

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.failures.get(name):
            raise self.failures[name].pop(0)

    def open(self) -> int:
        self._call("open")
        return 7

    def resume(self, node_id: int) -> None:
        self._call(f"resume {node_id}")

    def leave(self) -> None:
        self._call("leave")

    def heartbeat(self) -> None:
        self._call("heartbeat")

    def pull(self, *, held: bool) -> Delivery | None:
        self.held.append(held)
        self._call("pull")
        return self.inbox.pop(0) if self.inbox else None

    def fetch(self, delivery: Delivery) -> Message:
        self._call("fetch")
        return make_message(delivery.metadata, RecordDict({"config": ConfigRecord({"payload": b""})}))

    def push(self, reply: Reply, runtime: float) -> None:
        self._call("push")
        self.pushed.append(reply)

    def reconnect(self) -> None:
        self._call("reconnect")


def reasons(*names: str) -> list[BaseException]:
    return [SessionRefusedError(name, f"{name} it is") for name in names]  # type: ignore[arg-type]
