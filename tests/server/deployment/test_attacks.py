"""Attacks on a whole running system: replayed requests, headers on another body, a registered node off the roster."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import httpx
import pytest
from fleet_sites import FleetSite
from flwr.proto.fleet_pb2 import DeactivateNodeRequest, PullMessagesRequest
from run_bench import RunBench
from running_server import make_server, running, status, until

from sealora_server.deployment.operator.messages import Register
from sealora_server.deployment.operator.socket import ask

from pure_sites import pure_federation


@pytest.fixture
def bench(tmp_path) -> Iterator[RunBench]:
    server, identity = make_server(tmp_path / "server")
    with running(server) as process:
        yield RunBench(server, identity, process)


def attacker(bench: RunBench) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(bench.server.ca))
    return httpx.Client(verify=context, timeout=10, trust_env=False)


def test_replayed_requests_change_nothing(bench):
    """All that a site ever sent is sent again, as it was, while the run goes on and after it."""
    bench.submit()
    heard = [site.eavesdropper.heard for site in bench.federation.sites]
    answers: dict[str, set[int]] = {}

    def replay(client: httpx.Client, request: httpx.Request) -> None:
        answer = client.post(str(request.url), content=request.content, headers=request.headers)
        answers.setdefault(request.url.path.rpartition("/")[2], set()).add(answer.status_code)

    with bench.federation.connected(bench.address, bench.server.ca), attacker(bench) as client:
        replayed = [0] * len(heard)

        def over() -> bool:
            for index, requests in enumerate(heard):
                for request in requests[replayed[index] :]:
                    replay(client, request)
                    replayed[index] += 1
            return next(run for run in status(bench.server).runs if run.name == "r1").condition == "finished"

        until(over, 120)
        assert sum(site.online for site in status(bench.server).sites) == 3
        for site in bench.federation.sites:  # a goodbye that was meant for the end of another session
            assert "deactivate-node" not in {request.url.path.rpartition("/")[2] for request in site.eavesdropper.heard}
    assert set(answers) >= {"activate-node", "pull-messages", "pull-object", "push-messages", "push-object"}
    assert set.union(*answers.values()) == {401}
    assert [site.failures for site in bench.federation.sites] == [[], [], []]
    bench.is_right()


@pytest.mark.slow
def test_a_site_s_signature_serves_no_other_request(bench):
    """Flower signs the time alone: without a memory of it, these headers would do for any body for five minutes."""
    bench.submit()
    site = bench.federation.sites[0]
    with bench.federation.connected(bench.address, bench.server.ca), attacker(bench) as client:
        until(lambda: len(site.eavesdropper.heard) > 3, 60)
        stolen = next(each for each in site.eavesdropper.heard if each.url.path.endswith("pull-messages"))
        goodbye = DeactivateNodeRequest(node_id=PullMessagesRequest.FromString(stolen.content).node.node_id)
        url = str(stolen.url).replace("pull-messages", "deactivate-node")
        headers = {name: value for name, value in stolen.headers.items() if name != "content-length"}
        assert client.post(url, content=goodbye.SerializeToString(), headers=headers).status_code == 401
        assert all(site.online for site in status(bench.server).sites)
        shown = bench.until_over()
    assert shown.condition == "finished"
    assert site.failures == []
    bench.is_right()


@pytest.mark.slow
def test_a_registered_node_that_is_not_on_the_roster_takes_no_part(bench):
    _, strangers = pure_federation(bench.recipe, 4)
    stranger = FleetSite(strangers[14])
    asked: list[str] = []
    stranger.before = lambda site, action: asked.append(action)
    ask(bench.server.operator_socket, Register(nodes={"site-3": stranger.node_key}))
    bench.federation.sites.append(stranger)
    with bench.federation.connected(bench.address, bench.server.ca):
        until(lambda: any(site.name == "site-3" and site.online for site in status(bench.server).sites), 60)
        bench.submit()
        shown = bench.until_over()
        assert sum(site.online for site in status(bench.server).sites) == 4
    bench.federation.sites.remove(stranger)
    assert shown.condition == "finished"
    assert asked == []
    assert {name for event in bench.events("round_finished") for name in event["survivors"]} == {
        "site-0", "site-1", "site-2",
    }  # fmt: skip
    bench.is_right()
