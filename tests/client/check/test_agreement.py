"""A site in order, and what is wrong with a site's own files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from enrolled_site import EnrolledSite
from fleet_server import FleetServer
from typer.testing import CliRunner

from sealora_client.cli import cli
from sealora_client.fleet.node_key import load_node_key
from sealora_client.ledger import Ledger
from sealora_client.site.seen_rosters import SEEN, remember_roster
from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity

from check_site import another_node_key, check, not_passed


def test_a_site_in_order_passes_every_check(site: EnrolledSite, server: FleetServer) -> None:
    code, findings = check(site)
    assert [finding for finding in findings if finding["status"] != "pass"] == []
    assert code == 0
    assert [finding["check"] for finding in findings] == [
        "site.yaml", "recipe", "roster", "policy", "disk", "server", "certificate", "tls", "clock", "node key",
        "privacy", "privacy", "privacy", "base model", "device", "memory", "records", "memory", "time",
    ]  # fmt: skip
    said = {finding["check"]: finding["said"] for finding in findings}
    assert said["privacy"].endswith(": one run in this data's lifetime")
    assert site.roster.fingerprint in said["roster"]
    assert re.match(r"TLSv1\.3, TLS_\w+, key exchange X25519", said["tls"])
    assert said["records"].startswith("24 to train on, 4 held out, 0 (0.0%) cut")
    assert re.match(r"a round takes about [\d.]+ s here, all 2 about [\d.]+ s", said["time"])


def test_it_says_the_same_to_a_person(site: EnrolledSite) -> None:
    result = CliRunner().invoke(cli, ["check", "--config", str(site.config), "--quick"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "pass  site.yaml    site site-0"
    assert result.stdout.splitlines()[-1] == "This site can take part."
    site.configure(server=None)
    result = CliRunner().invoke(cli, ["check", "--config", str(site.config), "--quick"])
    assert result.exit_code == 1
    assert "fail  server       site.yaml names none: add `server: https://host:port`" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 of 12 checks failed."


def test_it_charges_nothing_and_opens_no_session(site: EnrolledSite, server: FleetServer) -> None:
    check(site)
    with Ledger(site.directory / "ledger.sqlite") as ledger:
        assert ledger.charges() == []
    node = server.node_of(load_node_key(site.directory / "node.key"))
    assert node is not None
    assert server.status_of(node) == "registered"


def test_a_site_that_is_at_work_is_not_disturbed(site: EnrolledSite, server: FleetServer) -> None:
    node = server.node_of(load_node_key(site.directory / "node.key"))
    assert node is not None
    server.state.activate_node(node, 30)
    try:
        assert not_passed(site, "--quick") == []
        assert server.status_of(node) == "online"
    finally:
        server.state.deactivate_node(node)


def remove(name: str) -> Callable[[EnrolledSite], None]:
    return lambda site: (site.directory / name).unlink()


def spoil(name: str, content: bytes = b"\xff{") -> Callable[[EnrolledSite], None]:
    def spoiled(site: EnrolledSite) -> None:
        (site.directory / name).write_bytes(content)

    return spoiled


def expose(name: str) -> Callable[[EnrolledSite], None]:
    return lambda site: (site.directory / name).chmod(0o644)


def another_identity(site: EnrolledSite) -> None:
    Identity.create("site-0", SystemEntropy()).save(site.directory / "identity.pem")


def another_coordinator(site: EnrolledSite) -> None:
    site.configure(coordinator="ab" * 32)


def struck_off(site: EnrolledSite) -> None:
    roster = site.roster
    site.sign(roster.model_copy(update={"members": roster.members[1:]}))


def no_server_key(site: EnrolledSite) -> None:
    site.sign(site.roster.model_copy(update={"server": None}))


def forged(site: EnrolledSite) -> None:
    path = site.directory / "roster.json"
    path.write_text(path.read_text().replace("simulation of tiny", "simulation of tony"))


def expired(site: EnrolledSite) -> None:
    roster = site.roster.draft().signed(site.coordinator, at=datetime(2020, 1, 1, tzinfo=UTC))
    roster.save(site.directory / "roster.json")


def two_faces(site: EnrolledSite) -> None:
    used = site.roster.model_copy(update={"consortium": "another"}).signed(site.coordinator)
    remember_roster(site.directory, used)


def older(site: EnrolledSite) -> None:
    remember_roster(site.directory, site.roster.draft().signed(site.coordinator))


def of_before(site: EnrolledSite) -> None:
    value = json.loads((site.directory / "roster.json").read_text())
    del value["version"]
    (site.directory / "roster.json").write_text(json.dumps(value))


AGREEMENT = {
    "an expired roster": (expired, "roster", r"the roster expired 2020-12-31T00:00:00Z: have the coordinator sign"),
    "another roster of the number used": (two_faces, "roster", r"two faces: this roster is number"),
    "a roster older than the one used": (older, "roster", r"number \d, and number \d has been used here: it is out of"),
    "a roster of an earlier version": (
        of_before,
        "roster",
        r"a roster of version 1, from an earlier Sealora",
    ),
    "no identity": (remove("identity.pem"), "identity", r"the private key is missing: restore it"),
    "an identity that others read": (expose("identity.pem"), "identity", r"others can read .*: chmod 600"),
    "another identity": (another_identity, "roster", r"the signing key it lists .* is another: send the coordinator"),
    "no node key": (remove("node.key"), "node key", r"the node key is missing: restore it"),
    "another node key": (another_node_key, "roster", r"the node key it lists .* is another: send the coordinator"),
    "no recipe": (remove("recipe.yaml"), "recipe", r"no such recipe"),
    "a damaged recipe": (spoil("recipe.yaml"), "recipe", r"cannot be read"),
    "no roster": (remove("roster.json"), "roster", r"cannot be read .*: ask the coordinator for it"),
    "a damaged roster": (spoil("roster.json"), "roster", r"not a roster .*: ask the coordinator for it"),
    "a forged roster": (forged, "roster", r"signature does not hold: do not use this roster"),
    "another coordinator": (another_coordinator, "roster", r"signed by another coordinator than the one pinned here"),
    "a roster without this site": (
        struck_off,
        "roster",
        r"'site-0' is not on it: send the coordinator this site's card",
    ),
    "a roster without the server's key": (no_server_key, "roster", r"names no server key, .*: have the coordinator"),
    "no policy": (remove("policy.yaml"), "policy", r"the site has no policy: write one"),
    "a damaged policy": (
        spoil("policy.yaml", b"epsilon_limit: 1\n"),
        "policy",
        r"delta_limit: missing: add it",
    ),
}


@pytest.mark.parametrize("case", AGREEMENT)
def test_what_is_wrong_with_the_site_s_files_is_said(site: EnrolledSite, case: str) -> None:
    change, name, said = AGREEMENT[case]
    change(site)
    failures = [(check, text) for status, check, text in not_passed(site, "--quick") if status == "fail"]
    assert any(check == name and re.search(said, text) for check, text in failures), failures


@pytest.mark.parametrize("content", [None, b"", b"name: x\n", b"- 1\n", b"\xff"])
def test_without_a_configuration_there_is_one_line(site: EnrolledSite, content: bytes | None) -> None:
    site.config.unlink()
    if content is not None:
        site.config.write_bytes(content)
    ((status, name, said),) = not_passed(site)
    assert (status, name) == ("fail", "site.yaml")
    assert str(site.config) in said


def test_a_policy_that_refuses_the_recipe_says_each_line(site: EnrolledSite) -> None:
    site.decide(minimum_sites=5, rank=[4, 8])
    said = [text for status, name, text in not_passed(site, "--quick") if (status, name) == ("fail", "policy")]
    assert said == [
        "minimum_sites is 5, but the roster has 3: agree on another recipe, or change that line of policy.yaml",
        "rank is 4 to 8, but the recipe's lora.rank is 2: agree on another recipe, or change that line of policy.yaml",
    ]


def test_hours_are_shown(site: EnrolledSite) -> None:
    site.decide(hours=["20:00-06:00"])
    _, findings = check(site, "--quick")
    assert any(finding["said"].endswith("orders are taken 20:00-06:00 (UTC)") for finding in findings)


def test_a_recipe_that_names_no_base_model_is_warned_of(site: EnrolledSite) -> None:
    site.agree("model", digest=None)
    assert any(name == "recipe" and "names no model.digest" in said for _, name, said in not_passed(site, "--quick"))


@pytest.mark.parametrize(("days", "warned"), [(29, True), (31, False)])
def test_a_roster_that_expires_soon_is_warned_of(site: EnrolledSite, days: int, warned: bool) -> None:
    following = site.roster.draft().signed(site.coordinator, term=timedelta(days=days))
    following.save(site.directory / "roster.json")
    found = [said for status, name, said in not_passed(site, "--quick") if (status, name) == ("warn", "roster")]
    assert len(found) == warned
    assert all("have the coordinator sign it anew before" in said for said in found)


def test_a_check_notes_no_roster_as_used(site: EnrolledSite) -> None:
    check(site, "--quick")
    assert not (site.directory / SEEN).exists()


def test_a_roster_without_a_node_key_is_warned_of(site: EnrolledSite) -> None:
    site.list_as(node_key=None)
    assert [entry[:2] for entry in not_passed(site, "--quick")] == [("warn", "roster")]
