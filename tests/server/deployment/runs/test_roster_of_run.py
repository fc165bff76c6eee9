"""New rosters for a run, and which sites may connect."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from fleet_sites import FleetFederation

from sealora_common.roster import Roster
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.nodes import NodeList
from sealora_server.deployment.operator.messages import Register, Resume, Stop, Unregister, UseRoster
from sealora_server.deployment.runs.submission import Operation

from run_host import ADA, RECIPE


def test_a_new_roster_takes_the_old_one_s_place_and_its_sites_may_connect(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        before = set(bench.superlink.known)
        bench.federation.sites[1].key = type(bench.federation.sites[1])(bench.federation.sites[1].part).key
        roster = bench.federation.signed_roster(bench.federation.roster)
        await operations.handle(UseRoster(run="r1", roster=roster.model_dump_json()), ADA)
        assert Roster.load(bench.server.runs / "r1" / "roster.json") == roster
        assert len(before & set(bench.superlink.known)) == 2
        assert len(bench.superlink.known) == 3
        await operations.pause_runs()

    asyncio.run(run())


def test_a_roster_of_another_coordinator_is_not_taken(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        other = FleetFederation(RECIPE, 3, bench.identity.public_key).roster
        before = (bench.server.runs / "r1" / "roster.json").read_bytes()
        known = dict(bench.superlink.known)
        with pytest.raises(DeploymentError, match="this roster is of another coordinator than run 'r1' has"):
            await operations.handle(UseRoster(run="r1", roster=other.model_dump_json()), ADA)
        assert (bench.server.runs / "r1" / "roster.json").read_bytes() == before
        assert bench.superlink.known == known
        await operations.pause_runs()

    asyncio.run(run())


NOT_NEXT = {
    "the other face": (lambda first: first, "two faces: this roster is number 1"),
    "the other face's successor": (lambda first: first.draft(), "follows a number 1 .* that is not the one used here"),
    "an older one": (lambda first: first, "number 1, and number 2 has been used here: it is out of date"),
}


@pytest.mark.parametrize("case", NOT_NEXT)
def test_a_roster_that_may_not_follow_the_run_s_is_not_taken(bench, case):
    async def run() -> None:
        make, said = NOT_NEXT[case]
        federation = bench.federation
        operations = bench.operations()
        used = federation.roster
        if case == "an older one":
            used = used.draft().signed(federation.coordinator)
        await operations.handle(bench.submission(roster=used), ADA)
        first = federation.roster.model_copy(update={"consortium": "another"}).signed(federation.coordinator)
        before = (bench.server.runs / "r1" / "roster.json").read_bytes()
        other = make(first).signed(federation.coordinator)
        with pytest.raises(DeploymentError, match=f"run 'r1': .*{said}"):
            await operations.handle(UseRoster(run="r1", roster=other.model_dump_json()), ADA)
        assert (bench.server.runs / "r1" / "roster.json").read_bytes() == before
        await operations.pause_runs()

    asyncio.run(run())


def test_an_expired_roster_is_not_taken(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        at = datetime(2020, 1, 1, tzinfo=UTC)
        expired = bench.federation.roster.draft().signed(bench.federation.coordinator, at=at)
        with pytest.raises(DeploymentError, match="the roster expired 2020-12-31T00:00:00Z: have the coordinator sign"):
            await operations.handle(UseRoster(run="r1", roster=expired.model_dump_json()), ADA)
        with pytest.raises(DeploymentError, match="the roster expired 2020-12-31T00:00:00Z: have the coordinator sign"):
            await operations.handle(bench.submission(name="r2", roster=expired), ADA)
        await operations.pause_runs()

    asyncio.run(run())


def test_a_submission_does_not_take_the_place_of_a_site_that_is_registered(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        known = dict(bench.superlink.known)
        other = FleetFederation(RECIPE, 3, bench.identity.public_key).roster  # the same names, other keys
        with pytest.raises(DeploymentError, match="site 'site-0' is registered with another node key: if it has a new"):
            await operations.handle(bench.submission(name="r2", roster=other), ADA)
        assert bench.superlink.known == known
        assert not (bench.server.runs / "r2").exists()
        await operations.pause_runs()

    asyncio.run(run())


def test_sites_are_registered_and_withdrawn_one_by_one(bench):
    async def run() -> None:
        operations = bench.operations()
        nodes = {site.name: site.node_key for site in bench.federation.sites}
        await operations.handle(Register(nodes=nodes), ADA)
        assert [site.name for site in await operations.sites()] == ["site-0", "site-1", "site-2"]
        await operations.handle(Unregister(site="site-1"), ADA)
        assert sorted(bench.superlink.known.values()) == ["site-0", "site-2"]
        assert sorted(NodeList.load(bench.server.nodes).nodes) == ["site-0", "site-2"]
        bench.superlink.known.clear()
        await operations.restore_nodes()
        assert sorted(bench.superlink.known.values()) == ["site-0", "site-2"]

    asyncio.run(run())


def test_what_is_not_there_is_named(bench):
    async def run() -> None:
        operations = bench.operations()
        for request in (Stop(run="r9"), Resume(run="r9"), UseRoster(run="r9", roster="{}")):
            with pytest.raises(DeploymentError, match="there is no run 'r9': see `sealora server status`"):
                await operations.handle(request, ADA)
        with pytest.raises(DeploymentError, match="not a roster"):
            await operations.handle(bench.submission(roster=Operation(condition="failed")), ADA)

    asyncio.run(run())


def test_the_state_that_is_kept_is_small_and_plain(bench):
    Operation(condition="failed", said="why").save(bench.server.runs)
    kept = json.loads((bench.server.runs / "operation.json").read_text())
    assert kept == {"condition": "failed", "said": "why", "place": 0}


def test_sites_that_are_let_in_and_withdrawn_at_once_are_all_let_in_or_withdrawn(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        others, more = (
            {member.name: member.node_key for member in bench.elsewhere(prefix).members} for prefix in ("o", "m")
        )
        await operations.handle(Register(nodes=others), ADA)
        await asyncio.gather(
            operations.handle(Register(nodes=more), ADA),
            operations.handle(Unregister(site="o-0"), ADA),
            operations.handle(bench.submission(name="r2"), ADA),
        )
        known = NodeList.load(bench.server.nodes).nodes
        assert set(known) == {*(f"site-{n}" for n in range(3)), "o-1", "o-2", *more}
        assert set(bench.superlink.known.values()) == set(known)
        await operations.pause_runs()

    asyncio.run(run())
