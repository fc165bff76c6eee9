"""What a session makes of each refusal and failure, with Fleet calls that do what a test says."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from email.utils import formatdate

import httpx
import pytest
from fleet_site import delivery, new_key

from sealora_client.fleet import connection as connection_module
from sealora_client.fleet.connection import FleetConnection, clock_ahead
from sealora_client.fleet.errors import BadMessageError, LostConnectionError, RunEndedError, SessionRefusedError
from sealora_client.fleet.flower import CLOCK_AHEAD_SECONDS, CLOCK_BEHIND_SECONDS, ApiErrorCode
from sealora_common.errors import SealoraError

KEY = new_key()


def response(status=400, code=None, *, ahead=None, text=None) -> httpx.Response:
    """A refusal; `ahead` are the seconds by which this machine's clock seems ahead of the server's."""
    body = text if text is not None else json.dumps({"code": int(code), "public_message": "x"}) if code else ""
    headers = {} if ahead is None else {"date": formatdate(time.time() - ahead, usegmt=True)}
    made = httpx.Response(status, text=body, headers=headers, request=httpx.Request("POST", "https://server/"))
    made.elapsed = timedelta(0)
    return made


def refusal(status=400, code=None, **options) -> httpx.HTTPStatusError:
    made = response(status, code, **options)
    return httpx.HTTPStatusError("refused", request=made.request, response=made)


class Calls:
    """Fleet calls: each first raises the next of what `failures` holds for it."""

    def __init__(self) -> None:
        self.failures: dict[str, list[BaseException]] = {}
        self.asked: list[str] = []
        self.known = True
        self.was_fetched = True

    def _call(self, name: str) -> None:
        self.asked.append(name)
        if self.failures.get(name):
            raise self.failures[name].pop(0)

    def register(self) -> None:
        self._call("register")

    def activate(self, interval: float) -> int:
        self._call("activate" if interval else "probe")
        return 7

    def deactivate(self, node: int) -> None:
        self._call(f"deactivate {node}")

    def heartbeat(self, node: int, interval: float) -> bool:
        self._call("heartbeat")
        return self.known

    def pull(self, node: int, wait: int) -> None:
        self._call("pull")

    def fetch(self, node, metadata, tree, contents, largest):
        self._call("fetch")
        return "message", self.was_fetched

    def confirm(self, node, metadata) -> None:
        self._call("confirm")

    def push(self, node, reply, runtime) -> None:
        self._call("push")

    def close(self) -> None:
        self._call("close")


@pytest.fixture
def made(monkeypatch) -> list[Calls]:
    """The Fleet calls of each connection that was made."""
    made: list[Calls] = []
    monkeypatch.setattr(connection_module, "FleetCalls", lambda *_: made.append(Calls()) or made[-1])
    return made


@pytest.fixture
def connection(made) -> FleetConnection:
    return FleetConnection("https://server.example:9443", KEY, None)


@pytest.fixture
def calls(connection, made) -> Calls:
    return made[0]


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (refusal(code=ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED), RunEndedError, "over"),
        (refusal(413), BadMessageError, "HTTP 413"),
        (refusal(429), LostConnectionError, "HTTP 429"),
        (refusal(500), LostConnectionError, "HTTP 500"),
        (refusal(503), LostConnectionError, "HTTP 503"),
        (refusal(401), SessionRefusedError, "the server holds no session of this site any more"),
        (refusal(code=ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED), SessionRefusedError, "holds no session"),
        (refusal(code=ApiErrorCode.FLEET_NODE_DEACTIVATION_FAILED), SessionRefusedError, "holds no session"),
        (refusal(404), SessionRefusedError, "refuses this site"),
        (refusal(400, text="[" * 60_000), SessionRefusedError, "refuses this site"),
        (httpx.ReadTimeout("long and tiresome"), LostConnectionError, "no answer in time"),
        (httpx.ConnectError("[Errno 111] Connection refused"), LostConnectionError, r"\(Connection refused\)"),
        (httpx.ConnectError(""), LostConnectionError, r"\(ConnectError\)"),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] it is old"), SessionRefusedError, "does not hold"),
        (httpx.StreamClosed(), LostConnectionError, "no connection"),
        (RuntimeError("closed"), LostConnectionError, "closed here"),
        (RecursionError("deep"), LostConnectionError, r"cannot be read \(RecursionError\)"),
        (ValueError("an odd sentence"), LostConnectionError, r"cannot be read \(an odd sentence\)"),
        (UnicodeError("secret"), LostConnectionError, r"cannot be read \(UnicodeError\)"),
        (BadMessageError("as it is"), BadMessageError, "^as it is$"),
    ],
)
def test_what_goes_wrong_is_sorted_and_put_in_words(connection, calls, error, kind, said):
    calls.failures = {"push": [error]}
    with pytest.raises(kind, match=said) as caught:
        connection.push("reply", 0.0)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("status", "ahead", "reason"),
    [
        (401, CLOCK_AHEAD_SECONDS + 60, "clock"),
        (401, -CLOCK_BEHIND_SECONDS - 60, "clock"),
        (401, 0, "ended"),
        (403, CLOCK_AHEAD_SECONDS + 60, "other"),  # what is refused for another reason is not the clock's
    ],
)
def test_a_clock_is_blamed_where_it_is_to_blame(connection, calls, status, ahead, reason):
    calls.failures = {"push": [refusal(status, ahead=ahead)]}
    with pytest.raises(SessionRefusedError) as caught:
        connection.push("reply", 0.0)
    assert caught.value.reason == reason


@pytest.mark.parametrize("date", ["", "rubbish", "Mon, 99 Jan 2026 00:00:00 GMT"])
def test_a_date_that_is_none_says_nothing_of_the_clock(date):
    made = response()
    made.headers["date"] = date
    assert clock_ahead(made) is None


def test_clocks_that_may_agree_do():
    assert clock_ahead(response(ahead=1)) == 0.0
    assert clock_ahead(response(ahead=100)) == pytest.approx(99, abs=2)
    assert clock_ahead(response()) is None


@pytest.mark.parametrize(("server", "registers"), [("http://localhost:1", True), ("https://localhost:1", False)])
def test_only_a_server_of_this_machine_is_told_the_key_first(made, server, registers):
    connection = FleetConnection(server, KEY, None)
    made[0].failures = {"register": [refusal(code=ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED)]}
    assert connection.open() == 7
    assert made[0].asked == ["register", "activate"][not registers :]


def test_a_refusal_that_is_not_about_the_key_is_told_as_it_is(connection, calls):
    calls.failures = {"activate": [refusal(404)]}
    with pytest.raises(SessionRefusedError) as caught:
        connection.open()
    assert caught.value.reason == "other"
    assert calls.asked == ["activate"]


@pytest.mark.parametrize(
    ("probed", "reason"),
    [
        (ApiErrorCode.FLEET_INVALID_HEARTBEAT_INTERVAL, "busy"),
        (ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED, "unknown"),
    ],
)
def test_a_key_that_is_known_and_refused_is_still_in_a_session(connection, calls, probed, reason):
    calls.failures = {
        "activate": [refusal(code=ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED)],
        "probe": [refusal(code=probed)],
    }
    with pytest.raises(SessionRefusedError) as caught:
        connection.open()
    assert caught.value.reason == reason


def test_a_probe_tells_whether_the_key_is_known_and_how_far_the_clock_is_off(connection, calls):
    calls.failures = {"probe": [refusal(code=ApiErrorCode.FLEET_INVALID_HEARTBEAT_INTERVAL, ahead=100)]}
    probe = connection.probe()
    assert probe.known
    assert probe.clock_ahead == pytest.approx(99, abs=2)
    calls.failures = {"probe": [refusal(code=ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED)]}
    assert not connection.probe().known
    calls.failures = {"probe": [refusal(500)]}
    with pytest.raises(LostConnectionError, match="HTTP 500"):
        connection.probe()
    calls.failures = {"probe": [httpx.ConnectError("down")]}
    with pytest.raises(LostConnectionError, match="down"):
        connection.probe()


def test_a_server_that_opens_a_session_when_probed_is_none_of_flower_s(connection):
    with pytest.raises(LostConnectionError, match="answered like no Flower server"):
        connection.probe()


def test_without_a_session_there_is_nothing_to_prolong(connection, calls):
    connection.heartbeat()
    assert calls.asked == []


def test_a_session_that_the_server_does_not_know_is_none(connection, calls):
    connection.open()
    calls.known = False
    with pytest.raises(SessionRefusedError) as caught:
        connection.heartbeat()
    assert caught.value.reason == "ended"


NO_SESSION = [
    refusal(401),
    refusal(404, ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED),
    refusal(404, ApiErrorCode.FLEET_NODE_DEACTIVATION_FAILED),
]


@pytest.mark.parametrize("error", NO_SESSION)
@pytest.mark.parametrize("call", ["pull", "fetch", "push", "heartbeat", "deactivate 7"])
def test_that_its_key_is_unknown_a_site_is_told_where_a_session_is_opened_and_nowhere_else(
    connection, calls, call, error
):
    """Whatever answers so: a server that was started anew says the same of a session that it never held."""
    connection.open()
    calls.failures = {call: [error]}
    asks = {
        "pull": lambda: connection.pull(held=True),
        "fetch": lambda: connection.fetch(delivery()),
        "push": lambda: connection.push("reply", 0.0),
        "heartbeat": connection.heartbeat,
        "deactivate 7": connection.leave,
    }
    with pytest.raises(SessionRefusedError) as caught:
        asks[call]()
    assert caught.value.reason == "ended"
    assert "key" not in str(caught.value)


@pytest.mark.parametrize("error", NO_SESSION)
@pytest.mark.parametrize("probed", [refusal(401), refusal(code=ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED)])
def test_a_key_that_is_unknown_is_said_to_be_whatever_refuses_it(connection, calls, error, probed):
    calls.failures = {"activate": [error], "probe": [probed]}
    with pytest.raises(SessionRefusedError, match="does not know this site's node key") as caught:
        connection.open()
    assert caught.value.reason == "unknown"


def test_a_session_that_cannot_be_gone_on_with_is_not_kept_in_mind(connection, calls):
    calls.known = False
    with pytest.raises(SessionRefusedError):
        connection.resume(9)
    calls.asked.clear()
    connection.heartbeat()
    assert calls.asked == []
    calls.known = True
    connection.resume(9)
    connection.leave()
    assert calls.asked == ["heartbeat", "deactivate 9"]


@pytest.mark.parametrize("was_fetched", [True, False])
def test_what_was_fetched_is_confirmed_and_what_came_along_is_not(connection, calls, was_fetched):
    calls.was_fetched = was_fetched
    assert connection.fetch(delivery()) == "message"
    assert calls.asked == ["fetch", "confirm"][: 1 + was_fetched]


@pytest.mark.parametrize("status", [500, 404])
def test_a_message_is_there_though_it_cannot_be_confirmed(connection, calls, status):
    calls.failures = {"confirm": [refusal(status)]}
    assert connection.fetch(delivery()) == "message"
    calls.failures = {"confirm": [refusal(code=ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED)]}
    assert connection.fetch(delivery()) == "message"


@pytest.mark.parametrize("error", [refusal(413), refusal(code=ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED)])
def test_what_is_said_of_a_message_where_there_is_none_is_no_proper_answer(connection, calls, error):
    calls.failures = {"pull": [error]}
    with pytest.raises(LostConnectionError):
        connection.pull(held=True)


def test_who_reconnects_drops_the_connections_there_were(connection, made):
    connection.open()
    connection.reconnect()
    assert made[0].asked == ["activate", "close"]
    connection.leave()
    assert made[1].asked == ["deactivate 7"]  # the session stays


def test_an_error_of_ours_stays_what_it_is(connection, calls):
    calls.failures = {"fetch": [SealoraError("a sentence of ours")]}
    with pytest.raises(SealoraError, match=r"^a sentence of ours$"):
        connection.fetch(delivery())
