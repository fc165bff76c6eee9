from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from sealora_common.errors import PolicyError
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.messages import (
    REQUEST,
    Act,
    Approve,
    AskStatus,
    Delete,
    Done,
    OnBehalf,
    Refuse,
    Register,
    Result,
    Resume,
    RunStatus,
    Status,
    Stop,
    Submit,
    Unregister,
    UseRoster,
    status_of,
)
from sealora_server.deployment.operator.person import Person
from sealora_server.deployment.operator.socket import ask, serve_operator
from sealora_server.deployment.processes.sockets import listen_unix

STATUS = Status(
    up=True,
    address="localhost:9443",
    hosts=("localhost",),
    server_key="k",
    health=None,
    certificate_expires="2030-01-01T00:00:00+00:00",
    tls="t",
    warnings=(),
    processes=(),
    sites=(),
    runs=(RunStatus(name="r", condition="running", said="s", finished_rounds=1, rounds=2, waiting_for=("a",)),),
)


async def handle(request: Act, person: Person) -> Result:
    match request:
        case Stop():
            raise PolicyError(f"run {request.run!r} does not run")
        case Resume():
            raise ZeroDivisionError
        case AskStatus():
            return STATUS
    return Done()


@contextlib.contextmanager
def served(path: Path, **options: Any) -> Iterator[Path]:
    """A socket that is answered from a thread."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(serve_operator(listen_unix(path), handle, **options))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield path
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def path(tmp_path) -> Iterator[Path]:
    with served(tmp_path / "operator.sock") as path:
        yield path


def say(path: Path, content: bytes) -> dict[str, Any] | None:
    """What comes back for these bytes; None for nothing."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError), connection.makefile("rb") as stream:
            line = stream.readline()
            return json.loads(line) if line else None
    return None


def test_a_request_is_answered(path):
    assert ask(path, AskStatus()) == STATUS
    assert ask(path, Unregister(site="oslo")) == Done()


def test_the_lines_have_the_bytes_they_always_had(path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b'{"action":"unregister","site":"oslo"}\n')
        with connection.makefile("rb") as stream:
            assert stream.readline() == b'{"result":{},"error":null}\n'
    answer = say(path, b'{"action":"status"}\n')
    assert answer == {"result": STATUS.model_dump(mode="json"), "error": None}


def test_an_answer_to_another_question_is_no_status():
    assert status_of(STATUS) is STATUS
    with pytest.raises(DeploymentError, match="not to the question"):
        status_of(Done())


def test_a_refusal_is_the_server_s_own_sentence(path):
    with pytest.raises(DeploymentError, match=r"^run 'a' does not run$"):
        ask(path, Stop(run="a"))


def test_an_unexpected_failure_tells_nothing_but_that(path):
    with pytest.raises(DeploymentError, match=r"^the server failed at this request: see its log$"):
        ask(path, Resume(run="a"))


ACTS: dict[type[Act], Act] = {
    Submit: Submit(name="r1", recipe="secret", roster="{}"),
    Approve: Approve(run="r1", digest="0" * 64),
    Refuse: Refuse(run="r1"),
    Stop: Stop(run="r1"),
    Resume: Resume(run="r1"),
    Delete: Delete(run="r1"),
    UseRoster: UseRoster(run="r1", roster="{}"),
    Register: Register(nodes={"oslo": "ecdsa-sha2-nistp384 AAAA"}),
    Unregister: Unregister(site="oslo\x1b[2J\nERROR forged"),
}


def test_every_act_is_in_the_log_with_who_did_it_over_which_socket_and_what_came_of_it(path, caplog):
    assert set(ACTS) | {AskStatus} == set(get_args(Act))
    outcomes = {
        Stop: "refused: run 'r1' does not run",
        Resume: "refused: the server failed at this request: see its log",
    }
    me = f"operator {pwd.getpwuid(os.getuid()).pw_name} (process {os.getpid()}, over {path}): "
    with caplog.at_level("INFO"):
        for kind, act in ACTS.items():
            caplog.clear()
            with contextlib.suppress(DeploymentError):
                ask(path, act)
            line = caplog.records[-1].getMessage()
            assert line.startswith(me)
            assert line.endswith(f": {outcomes.get(kind, 'done')}")
            assert "r1" in line or "oslo" in line or "1 site" in line
            assert not {"\n", "\x1b"} & set(line)
            assert "secret" not in line
        caplog.clear()
        ask(path, AskStatus())
        assert caplog.records == []
        say(path, b"shell\n")
        assert ": a request that cannot be read: refused: " in caplog.records[-1].getMessage()


def test_an_account_without_a_name_is_known_by_its_number(path, caplog, monkeypatch):
    def nobody(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with caplog.at_level("INFO"):
        ask(path, Unregister(site="oslo"))
    assert f"operator {os.getuid()} (process" in caplog.records[-1].getMessage()


def test_the_dashboard_speaks_for_those_who_log_in_there_and_nobody_else_does(tmp_path, caplog):
    secret = "what the dashboard was given"
    anna = Person(name="anna")
    with served(tmp_path / "s", dashboard=secret) as path, caplog.at_level("INFO"):
        assert ask(path, OnBehalf(person=anna, secret=secret, act=Refuse(run="r1"))) == Done()
        told = f"operator anna (at the dashboard, process {os.getpid()}, over {path}): refuse of run r1: done"
        assert caplog.records[-1].getMessage() == told
        assert ask(path, OnBehalf(person=anna, secret=secret, act=AskStatus())) == STATUS
        for wrong in ("", "what", secret + "x", "\u00e4"):
            with pytest.raises(DeploymentError, match="only the dashboard that the server itself has started speaks"):
                ask(path, OnBehalf(person=anna, secret=wrong, act=Refuse(run="r1")))
            assert caplog.records[-1].getMessage().startswith(f"operator {pwd.getpwuid(os.getuid()).pw_name} (process")
        with pytest.raises(DeploymentError, match="does not speak for accounts"):
            ask(path, OnBehalf(person=Person.of_account("root"), secret=secret, act=Refuse(run="r1")))
        assert all(secret not in record.getMessage() for record in caplog.records)
    assert secret not in repr(OnBehalf(person=anna, secret=secret, act=AskStatus()))


def test_where_there_is_no_dashboard_nobody_speaks_for_others(path):
    for secret in ("", "None"):
        with pytest.raises(DeploymentError, match="only the dashboard that the server itself has started speaks"):
            ask(path, OnBehalf(person=Person(name="anna"), secret=secret, act=Refuse(run="r1")))


def test_a_person_whose_name_reads_like_an_account_is_none(path):
    line = {"action": "on_behalf", "person": {"name": "Account:root"}, "secret": "", "act": {"action": "status"}}
    answer = say(path, json.dumps(line).encode() + b"\n")
    assert "begins like an account's" in answer["error"]


MALFORMED = {
    "nothing": b"",
    "no JSON": b"hello\n",
    "no object": b"[]\n",
    "another action": b'{"action": "shell"}\n',
    "a field too many": b'{"action": "status", "more": 1}\n',
    "a digest that is none": b'{"action": "approve", "run": "r1", "digest": "forged\\u001b[2J"}\n',
    "a name that leads elsewhere": b'{"action": "stop", "run": "../other"}\n',
    "bytes": b"\xff\xfe\n",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_no_request_is_refused_and_the_next_one_served(path, what):
    answer = say(path, MALFORMED[what])
    assert answer is not None
    assert answer["error"].endswith(": correct it")
    assert ask(path, AskStatus())


def test_a_line_that_is_too_long_is_not_taken(path):
    assert say(path, b'{"action": "' + b"a" * (REQUEST.longest + 10) + b'"}\n') is None
    assert ask(path, AskStatus())


def test_one_who_says_nothing_keeps_nobody_waiting(tmp_path):
    with served(tmp_path / "operator.sock", patience=0.2) as path, socket.socket(socket.AF_UNIX) as silent:
        silent.settimeout(10)
        silent.connect(str(path))
        assert ask(path, AskStatus())
        assert silent.recv(10) == b""


def test_where_no_server_runs_the_operator_is_told_how_to_start_one(tmp_path):
    with pytest.raises(DeploymentError, match="no server runs there: start it with `sealora server run`"):
        ask(tmp_path / "none.sock", AskStatus())
    listen_unix(tmp_path / "left.sock").close()
    with pytest.raises(DeploymentError, match="no server runs there"):
        ask(tmp_path / "left.sock", AskStatus())


@pytest.mark.parametrize("answer", [b"", b"half an ans", b"[]\n"])
def test_a_server_that_breaks_off_is_told_so(tmp_path, answer):
    with listen_unix(tmp_path / "s") as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(answer)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(DeploymentError, match="the server broke off in the middle of its answer"):
            ask(tmp_path / "s", AskStatus())
        thread.join()
