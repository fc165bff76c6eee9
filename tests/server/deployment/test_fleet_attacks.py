"""Attacks on the Fleet API of a whole running server, behind either front; each prints its figure."""

from __future__ import annotations

import contextlib
import os
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from attackers import Member, Stranger, attacked, meanwhile, superlink_megabytes
from fleet_bench import Headers
from flwr.proto.fleet_pb2 import DeactivateNodeRequest, PullMessagesRequest
from flwr.proto.node_pb2 import Node
from front_bench import KINDS
from run_bench import RunBench
from running_server import status

from quick_cases import quick_cases
from sealora_server.deployment.operator.messages import Register
from sealora_server.deployment.operator.socket import ask

DRIPPERS = 8
"""Connections at once."""
TREES, PARTS = 5, 10_000
ANSWERS, ANSWER_BYTES = 12, 16 * 2**20
REQUESTS = 1000
GROWTH = 100.0
"""Megabytes that the SuperLink may grow by: one answer, its envelope's ten thousand names, and the body under way."""


@pytest.fixture(params=quick_cases(KINDS, "embedded"))
def bench(request: pytest.FixtureRequest, tmp_path) -> Iterator[RunBench]:
    with attacked(request.param, tmp_path / "server") as started:
        yield started


@pytest.fixture(scope="module", params=quick_cases(KINDS, "embedded"))
def waiting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Member]]:
    """Three members, in a run that waits for their answers."""
    with attacked(request.param, tmp_path_factory.mktemp("a") / "server", patient=True) as bench:
        nodes = {site.name: site.node_key for site in bench.federation.sites}
        ask(bench.server.operator_socket, Register(nodes=nodes))
        members = [Member(bench, number) for number in range(3)]
        for member in members:
            member.enter()
        bench.submit()
        for member in members:
            member.run, member.order = member.ordered()  # type: ignore[attr-defined]
        yield members
        for member in members:
            member.client.close()


def random_signature(headers: Headers) -> Headers:
    """The same with a signature that is none."""
    return [headers[0], (headers[1][0], b64encode(os.urandom(104))), headers[2]]


@pytest.mark.slow
def test_a_stranger_that_names_a_site_s_key_and_drips_does_not_silence_it(bench: RunBench, capsys) -> None:
    """Drips stand in for a site's questions, over and over, while its run goes on to the end."""
    bench.submit()
    stranger = Stranger(bench)
    victim = Member(bench, 0)
    statuses: Counter[bytes] = Counter()

    def drip(stopping: threading.Event) -> None:
        while not stopping.is_set():
            lines = [b"%s: %s" % header for header in random_signature(victim.signed())]
            head = [b"POST /v1/fleet/pull-messages HTTP/1.1", b"Host: localhost", b"Content-Type: application/protobuf"]
            with contextlib.suppress(OSError), stranger.connect() as connection:
                connection.sendall(b"\r\n".join([*head, b"Content-Length: 60000", *lines, b"", b""]))
                connection.settimeout(0.1)
                for _ in range(600):
                    if stopping.is_set():
                        break
                    connection.sendall(b"a")
                    with contextlib.suppress(TimeoutError):
                        statuses[connection.recv(12)[9:]] += 1
                        break

    with bench.federation.connected(bench.address, bench.server.ca), meanwhile(drip, DRIPPERS):
        shown = bench.until_over()
    assert shown.condition == "finished"
    assert [site.failures for site in bench.federation.sites] == [[], [], []]
    assert b"401" in statuses
    assert set(statuses) <= {b"401", b""}  # or the connection was closed before it could be read
    bench.is_right()
    with capsys.disabled():
        print(
            f"\n{DRIPPERS} dripping connections at a time, {statuses[b'401']} refused: the run finished, no site failed"
        )


@pytest.mark.slow
def test_a_member_that_pushes_what_never_ends_fills_no_memory(waiting: list[Member], capsys) -> None:
    attacker = waiting[0]
    before = superlink_megabytes(attacker.bench)
    run, order = attacker.run, attacker.order  # type: ignore[attr-defined]
    highest, statuses = before, Counter[int]()
    for number in range(TREES):
        statuses[attacker.ask("push-messages", attacker.spread(run, order, number, PARTS)).status_code] += 1
        highest = max(highest, superlink_megabytes(attacker.bench))
    for number in range(ANSWERS):
        statuses.update(attacker.push(run, order, number.to_bytes(2, "big") * (ANSWER_BYTES // 2)))
        highest = max(highest, superlink_megabytes(attacker.bench))
    for number in range(200):  # answers to nothing
        statuses[attacker.ask("push-messages", attacker.answer(run, f"{number:064x}", b"")[0]).status_code] += 1
    highest = max(highest, superlink_megabytes(attacker.bench))
    assert attacker.ask("push-messages", attacker.spread(run, order, 0, PARTS + 1)).status_code == 403
    pushed = TREES * PARTS, ANSWERS * ANSWER_BYTES / 2**20
    with capsys.disabled():
        print(
            f"\n{pushed[0]} names of parts and {pushed[1]:.0f} MB pushed: {before:.0f} MB before, {highest:.0f} at most"
        )
    assert set(statuses) == {200}
    assert highest - before < GROWTH
    for member in waiting[1:]:
        assert 200 in member.push(member.run, member.order, b"still served")  # type: ignore[attr-defined]


def test_a_member_that_orders_in_the_server_s_name_is_refused_and_nobody_receives_it(
    waiting: list[Member], capsys
) -> None:
    attacker, *others = waiting
    run, order = attacker.run, attacker.order  # type: ignore[attr-defined]
    refused = 0
    for victim in others:
        for source in (1, attacker.node, victim.node):
            for answers in ("", order, "f" * 64):
                for destination in (victim.node, 1, attacker.node):
                    if (source, destination, bool(answers)) == (attacker.node, 1, True):
                        continue  # an answer of its own
                    request, _ = attacker.answer(run, answers, b"forged", source, destination)
                    assert attacker.ask("push-messages", request).status_code == 403
                    refused += 1
    for member in waiting:
        assert list(member.pulled().messages_list) == []
    with capsys.disabled():
        print(f"\n{refused} orders in another's name: refused, and none received")


@pytest.mark.parametrize(("action", "body", "answer"), [("pull-messages", b"\xff", 400), ("pull-object", b"", 401)])
def test_a_request_that_was_refused_is_not_repeated_with_another_body(
    waiting: list[Member], action: str, body: bytes, answer: int
) -> None:
    victim = waiting[1]
    headers = victim.signed()
    assert victim.post(action, body, headers).status_code == answer
    goodbye = DeactivateNodeRequest(node_id=victim.node).SerializeToString()
    question = PullMessagesRequest(node=Node(node_id=victim.node)).SerializeToString()
    for other, content in (("deactivate-node", goodbye), ("pull-messages", question), (action, body)):
        assert victim.post(other, content, headers).status_code == 401
    assert all(site.online for site in status(victim.bench.server).sites)


def test_a_refusal_reaches_who_was_refused(waiting: list[Member]) -> None:
    """And not a proxy's word for a connection that was reset while the body was still on its way."""
    stranger, victim = Stranger(waiting[1].bench), waiting[1]
    requests = [(size, random_signature(victim.signed())) for size in (1, 1000, 60_000) for _ in range(100)]

    def refused(request: tuple[int, Headers]) -> bytes:
        size, headers = request
        head = [b"POST /v1/fleet/pull-messages HTTP/1.1", b"Host: localhost", b"Content-Type: application/protobuf"]
        lines = [*head, b"Content-Length: %d" % size, *(b"%s: %s" % header for header in headers), b"", b""]
        with contextlib.suppress(OSError), stranger.connect() as connection:
            connection.sendall(b"\r\n".join(lines) + bytes(size))
            return connection.recv(12)[9:]
        return b""

    with ThreadPoolExecutor(6) as pool:
        statuses = Counter(pool.map(refused, requests))
    assert set(statuses) <= {b"401", b""}  # the embedded front turns away connections that come too fast
    assert statuses[b"401"] >= 30


def test_junk_headers_by_the_thousand_leave_no_memory(waiting: list[Member], capsys) -> None:
    victim = waiting[2]

    def junk(number: int) -> Headers:
        true = victim.signed()
        return [
            (true[0][0], b64encode(os.urandom(200)) if number % 3 else true[0][1]),
            (true[1][0], b64encode(os.urandom(100))),
            (true[2][0], true[2][1] if number % 2 else os.urandom(40).hex().encode()),
            (b"sealora-pull-id", os.urandom(200).hex().encode()),
            (b"x-junk", os.urandom(1000).hex().encode()),
        ]

    for number in range(300):  # what is allocated once
        assert victim.post("pull-messages", b"", junk(number)).status_code == 401
    before = superlink_megabytes(victim.bench)
    for number in range(REQUESTS):
        assert victim.post("pull-messages", b"", junk(number)).status_code == 401
    grown = superlink_megabytes(victim.bench) - before
    with capsys.disabled():
        print(f"\n{REQUESTS} requests with junk for headers: {grown:+.1f} MB")
    assert grown < 5
