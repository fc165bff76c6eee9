"""`sealora server approve` and `refuse`, as they are typed, on a server's real operations behind its real socket."""

from __future__ import annotations

import asyncio
import os
import pwd
import threading

import pytest
import yaml
from typer.testing import CliRunner

from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity
from sealora_server.cli import cli
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.messages import AskStatus, Status
from sealora_server.deployment.operator.person import Person
from sealora_server.deployment.operator.socket import serve_operator
from sealora_server.deployment.processes.sockets import listen_unix

from run_host import Bench, FakeSuperLink

ME = pwd.getpwuid(os.getuid()).pw_name
STATUS = {
    "up": True, "address": None, "hosts": ["localhost"], "server_key": "k", "health": None, "tls": "t",
    "certificate_expires": "2030-01-01T00:00:00+00:00", "warnings": [], "processes": [], "sites": [],
}  # fmt: skip


@pytest.fixture
def typed(tmp_path):
    """What is typed at a server whose only approver is the account that types."""
    server = ServerDirectory(tmp_path / "server.yaml")
    approval = {"required": True, "approvers": [f"account:{ME}"]}
    server.config_file.write_text(yaml.safe_dump({"hosts": ["localhost"], "approval": approval}))
    server.runs.mkdir()
    server.sockets.mkdir(mode=0o700)
    Identity.create("server", SystemEntropy()).save(server.identity)
    loop = asyncio.new_event_loop()
    bench = Bench(server, FakeSuperLink())
    operations = bench.operations()

    async def handle(act, person):
        if isinstance(act, AskStatus):
            return Status.model_validate({**STATUS, "runs": operations.statuses(frozenset())})
        return await operations.handle(act, person)

    async def submit(name, person):
        await operations.handle(bench.submission(name=name), person)

    listening = loop.run_until_complete(serve_operator(listen_unix(server.operator_socket), handle))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def types(*words, typed=""):
        result = CliRunner().invoke(cli, ["server", *words, "--config", str(server.config_file)], input=typed)
        if result.exception is not None:
            raise result.exception
        return result.output

    for name, person in (("r1", Person(name="anna")), ("r2", Person.of_account(ME))):
        asyncio.run_coroutine_threadsafe(submit(name, person), loop).result(30)
    yield types, operations
    asyncio.run_coroutine_threadsafe(operations.pause_runs(), loop).result(30)
    loop.call_soon_threadsafe(listening.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def told(operations, name="r1"):
    return next(run for run in operations.statuses(frozenset()) if run.name == name)


def test_an_account_that_may_approves_what_it_is_shown(typed, monkeypatch):
    types, operations = typed
    with pytest.raises(DeploymentError, match="run r1 was not approved: give its digest with --digest"):
        types("approve", "r1")
    digest = told(operations).approval.digest
    with pytest.raises(DeploymentError, match="is not what was looked at"):
        types("approve", "r1", "--digest", "0" * 64)
    said = types("approve", "r1", "--digest", digest)
    assert f"digest of both: {digest}" in said
    assert "run r1: anna asked for it, 20" in said
    assert "run r1: approved; it begins when its turn has come: see `sealora server status`" in said
    assert told(operations).approval.approved_by == ME
    with pytest.raises(DeploymentError, match="run 'r1' is running: nothing of it waits for approval"):
        types("refuse", "r1")


def test_an_account_does_not_approve_what_it_asked_for(typed):
    types, operations = typed
    with pytest.raises(DeploymentError, match=f"{ME} asked for it: another person must approve it"):
        types("approve", "r2", "--digest", told(operations, "r2").approval.digest)
    with pytest.raises(DeploymentError, match="the server knows no run r9"):
        types("approve", "r9")


def test_what_is_refused_can_be_asked_for_again(typed):
    types, operations = typed
    assert "run r1: refused" in types("refuse", "r1")
    assert told(operations).said == f"{ME} refused to approve it"
    assert "goes on, when its turn has come and, where that is demanded, it is approved" in types("resume", "r1")
    assert (told(operations).condition, told(operations).approval.asked_by) == ("unapproved", ME)
