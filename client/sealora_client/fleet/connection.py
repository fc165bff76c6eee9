"""A session of this site's node with the server: the Fleet calls, with what can go wrong sorted and put in words."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from flwr.app import Message

from sealora_client.fleet.errors import BadMessageError, LostConnectionError, RunEndedError, SessionRefusedError
from sealora_client.fleet.flower import (
    CLOCK_AHEAD_SECONDS,
    CLOCK_BEHIND_SECONDS,
    ApiErrorCode,
    FleetCalls,
    FlowerError,
    Metadata,
    ObjectTree,
    Reply,
)
from sealora_client.fleet.heartbeat import ANNOUNCED_SECONDS
from sealora_client.fleet.transport import bounds_of
from sealora_common.config import SMALL, json_value
from sealora_common.errors import SealoraError
from sealora_common.network.bounded_http import AnswerBounds
from sealora_common.network.frames import LONGEST_WAIT_SECONDS
from sealora_common.network.proxy import proxy_for
from sealora_common.network.tls import client_context

Answer = TypeVar("Answer")

LARGEST_MESSAGE = 4 << 30
"""Bytes of one message: a global adapter of a thousand million parameters in float32."""
_DATE_SECONDS = 2.0  # how far a `Date` may be behind the moment it was sent
_NO_INTERVAL = 0.0  # the server refuses it, but only after it has looked up the key


@dataclass(frozen=True)
class Delivery:
    """A message that the server has handed out.

    Attributes:
        metadata: the message's.
        tree: of the objects it is made of.
        contents: those that have been fetched so far.
    """

    metadata: Metadata
    tree: ObjectTree
    contents: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def expires(self) -> float:
        """When nobody waits for the answer any more, seconds since the epoch."""
        return self.metadata.created_at + self.metadata.ttl


@dataclass(frozen=True)
class Probe:
    """What the server says to a question that changes nothing.

    Attributes:
        known: whether the node's key is registered.
        clock_ahead: seconds by which this machine's clock is ahead of the server's, to about a second.
    """

    known: bool
    clock_ahead: float


class FleetConnection:
    """The server, as one node sees it.

    Every call raises LostConnectionError where the server gave no proper answer, and SessionRefusedError where it
    answered that there is no session. Safe to use from several threads.

    Args:
        server: `https://host:port` of the front, or `http://` for a server on this machine.
        key: the node's key.
        ca: PEM file of the certificates that may sign the server's; None for those the system trusts.
        bounds: of each exchange.

    Raises:
        StorageError: the CA file cannot be used.
        ProxyError: the environment names a proxy that cannot be used.
    """

    def __init__(
        self,
        server: str,
        key: EllipticCurvePrivateKey,
        ca: Path | None,
        bounds: Callable[[httpx.Request], AnswerBounds] = bounds_of,
    ) -> None:
        self.server = server
        self._bounds = bounds
        self._key = key
        self._ca = ca
        self._node_id = 0
        self._calls = self._connect()

    def open(self) -> int:
        """Opens a session; returns the node's id."""
        if self.server.startswith("http://"):
            # A server without node authentication is told the key first; one that knows it refuses that.
            with suppress(SessionRefusedError):
                self._ask(self._calls.register)
        try:
            self._node_id = self._ask(lambda: self._calls.activate(ANNOUNCED_SECONDS))
        except SessionRefusedError as error:
            if error.reason != "ended":
                raise
            if not self.probe().known:
                raise SessionRefusedError("unknown", _UNKNOWN) from None
            raise SessionRefusedError(
                "busy",
                "the server still holds this site's last session, which ended without a goodbye and lasts up to "
                f"{2 * ANNOUNCED_SECONDS:.0f} s, or one of another process that runs with this site's keys",
            ) from None
        return self._node_id

    def resume(self, node_id: int) -> None:
        """Goes on with a session of this node that was not ended."""
        former, self._node_id = self._node_id, node_id
        try:
            self.heartbeat()
        except BaseException:
            self._node_id = former
            raise

    def leave(self) -> None:
        """Ends the session."""
        self._ask(lambda: self._calls.deactivate(self._node_id))

    def probe(self) -> Probe:
        """Asks whether the server knows this node's key; opens no session and disturbs none."""
        try:
            self._calls.activate(_NO_INTERVAL)
        except httpx.HTTPStatusError as error:
            code = _code(error)
            if code in (ApiErrorCode.FLEET_INVALID_HEARTBEAT_INTERVAL, ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED):
                known = code == ApiErrorCode.FLEET_INVALID_HEARTBEAT_INTERVAL
                return Probe(known, clock_ahead(error.response) or 0.0)
            found = _sorted_out(self._where, error)
            if isinstance(found, SessionRefusedError) and found.reason == "ended":  # not even asked who it is
                return Probe(False, clock_ahead(error.response) or 0.0)
            raise found from None
        except Exception as error:
            raise _sorted_out(self._where, error) from None
        raise LostConnectionError(f"{self.server} answered like no Flower server that Sealora knows: check the address")

    def heartbeat(self) -> None:
        """Prolongs the session, if there is one."""
        if not self._node_id:
            return
        if not self._ask(lambda: self._calls.heartbeat(self._node_id, ANNOUNCED_SECONDS)):
            raise SessionRefusedError("ended", _ENDED)

    def pull(self, *, held: bool) -> Delivery | None:
        """The next message, if there is one; a server of ours holds the question for a while if `held` is asked for."""
        wait = LONGEST_WAIT_SECONDS if held else 0
        pulled = self._ask(lambda: self._calls.pull(self._node_id, wait))
        return None if pulled is None else Delivery(*pulled)

    def fetch(self, delivery: Delivery) -> Message:
        """The whole message. Called again after a failure, it goes on where it was.

        Raises:
            RunEndedError: its run is over.
            BadMessageError: it was withdrawn or is damaged.
        """
        message, was_fetched = self._call(
            lambda: self._calls.fetch(
                self._node_id, delivery.metadata, delivery.tree, delivery.contents, LARGEST_MESSAGE
            )
        )
        if was_fetched:
            with suppress(LostConnectionError, SessionRefusedError, RunEndedError):  # it only saves the server memory
                self._call(lambda: self._calls.confirm(self._node_id, delivery.metadata))
        return message

    def push(self, reply: Reply, runtime: float) -> None:
        """Sends a reply that took `runtime` seconds to make. May be called again, whatever came of it.

        Raises:
            RunEndedError: its run is over.
            BadMessageError: the server takes nothing of this size.
        """
        self._call(lambda: self._calls.push(self._node_id, reply, runtime))

    def reconnect(self) -> None:
        """Reads the CA file anew and drops all connections; the session stays.

        Raises:
            StorageError: the CA file cannot be used.
        """
        former, self._calls = self._calls, self._connect()
        former.close()

    def close(self) -> None:
        """Drops all connections; the session stays."""
        self._calls.close()

    def _connect(self) -> FleetCalls:
        tls = None if self.server.startswith("http://") else client_context(self._ca)
        proxy = proxy_for(self.server)
        self._where = self.server if proxy is None else f"{self.server} through {proxy}"
        return FleetCalls(self.server, self._key, tls, self._bounds, proxy)

    def _ask(self, call: Callable[[], Answer]) -> Answer:
        """A call that is about no message: all that is said of one is no proper answer."""
        try:
            return self._call(call)
        except (RunEndedError, BadMessageError) as error:
            raise LostConnectionError(str(error)) from None

    def _call(self, call: Callable[[], Answer]) -> Answer:
        try:
            return call()
        except SealoraError:
            raise
        except Exception as error:  # whatever a server's bytes make Flower, protobuf, HTTP or Python raise
            raise _sorted_out(self._where, error) from None


_ABOUT_THE_NODE = (ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED, ApiErrorCode.FLEET_NODE_DEACTIVATION_FAILED)
_ENDED = "the server holds no session of this site any more, as after a restart of its own: a new one is opened"
_UNKNOWN = (
    "the server does not know this site's node key: have the coordinator add this site's card to the roster, and the "
    "server's operator take the roster in"
)


def clock_ahead(response: httpx.Response) -> float | None:
    """Seconds by which this machine's clock is ahead of the server's, from the `Date` of a response just closed.

    0 if they may agree: the header is cut to whole seconds, may be a second old, and was written at any time while
    the request took its way. None without such a header.
    """
    try:
        served = parsedate_to_datetime(response.headers.get_list("date")[0]).timestamp()
    except (IndexError, ValueError, TypeError, ArithmeticError, OSError):
        return None
    most = time.time() - served
    least = most - response.elapsed.total_seconds() - _DATE_SECONDS
    return 0.0 if least <= 0 <= most else (least + most) / 2


def _sorted_out(server: str, error: Exception) -> Exception:
    """What an error of a Fleet call means, in words."""
    if isinstance(error, httpx.HTTPStatusError):
        return _refusal(server, error)
    if isinstance(error, httpx.HTTPError | httpx.StreamError):
        why = _words(error)
        if "CERTIFICATE_VERIFY_FAILED" in why:
            return SessionRefusedError(
                "certificate",
                f"the certificate of {server} does not hold ({why.partition('CERTIFICATE_VERIFY_FAILED] ')[2]}): ask "
                "the server's operator whether it was replaced, and for the CA certificate if so",
            )
        return LostConnectionError(f"no connection to {server} ({why})")
    if type(error) is RuntimeError:  # httpx, where the connections were dropped meanwhile
        return LostConnectionError(f"no connection to {server} (closed here)")
    why = str(error) if type(error) is ValueError else type(error).__name__
    return LostConnectionError(f"{server} gave an answer that cannot be read ({why}): check the address in site.yaml")


def _refusal(server: str, error: httpx.HTTPStatusError) -> Exception:
    status, code = error.response.status_code, _code(error)
    ahead = clock_ahead(error.response) if status == httpx.codes.UNAUTHORIZED else None
    if code == ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED:
        said: Exception = RunEndedError("the run is over")
    elif ahead is not None and not _DATE_SECONDS - CLOCK_BEHIND_SECONDS < ahead < CLOCK_AHEAD_SECONDS - _DATE_SECONDS:
        said = SessionRefusedError("clock", clock_sentence(ahead))
    elif status == httpx.codes.UNAUTHORIZED or code in _ABOUT_THE_NODE:
        # Whether it knows the key is asked where a session is opened, and nowhere else: it has nothing else to say to
        # one that was open before it was started anew.
        said = SessionRefusedError("ended", _ENDED)
    elif status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
        said = BadMessageError(f"{server} takes no request of this size (HTTP 413): its operator can raise the limit")
    elif status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        said = LostConnectionError(f"{server} cannot serve now (HTTP {status})")
    else:
        said = SessionRefusedError(
            "other", f"{server} refuses this site (HTTP {status}): check the address in site.yaml, or ask its operator"
        )
    return said


def clock_sentence(ahead: float) -> str:
    """What is wrong with a clock that is off so far."""
    where = "ahead of" if ahead > 0 else "behind"
    return (
        f"this machine's clock is {abs(ahead):.0f} s {where} the server's: set it (signed requests are taken up to "
        f"{CLOCK_AHEAD_SECONDS} s ahead and {CLOCK_BEHIND_SECONDS} s behind)"
    )


def _code(error: httpx.HTTPStatusError) -> int | None:
    text = error.response.text
    try:
        json_value(text, SMALL)  # Flower's reader has no bounds
        told = FlowerError.from_json(text)
    except Exception:  # whatever a server's bytes make of it
        return None
    return None if told is None else told.code


def _words(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    said = str(error).partition("] ")[2] if str(error).startswith("[Errno") else str(error)
    return said.rstrip(".") or type(error).__name__
