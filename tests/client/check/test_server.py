"""The server, as a site sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from enrolled_site import EnrolledSite
from fleet_server import FleetServer

from certificates import Authority
from handshakes import needs_hybrid
from sealora_client.fleet import connection as connection_module
from sealora_client.fleet.node_key import load_node_key

from check_site import another_node_key, check, not_passed


def server_findings(site: EnrolledSite) -> list[tuple[str, str, str]]:
    names = ("server", "certificate", "clock", "node key")
    return [entry for entry in not_passed(site, "--quick") if entry[1] in names]


@needs_hybrid
def test_a_key_exchange_that_withstands_a_later_quantum_computer_is_said(site: EnrolledSite) -> None:
    _, findings = check(site, "--quick")
    (said,) = [finding["said"] for finding in findings if finding["check"] == "tls"]
    assert said.endswith("X25519MLKEM768: recorded traffic is protected against a later quantum computer")


def test_a_server_without_tls_has_no_line_on_it(site: EnrolledSite) -> None:
    with FleetServer() as plain:
        site.configure(server=plain.address)
        _, findings = check(site, "--quick")
    assert "tls" not in [finding["check"] for finding in findings]


def test_a_server_that_is_not_there_is_said(site: EnrolledSite) -> None:
    site.configure(server="https://127.0.0.1:1")
    ((status, name, said),) = server_findings(site)
    assert (status, name) == ("fail", "server")
    assert "cannot be reached" in said
    assert "check the address in site.yaml" in said


def test_a_certificate_of_another_authority_is_said(site: EnrolledSite, tmp_path: Path) -> None:
    site.configure(ca=str(Authority(tmp_path, "other").ca))
    ((status, name, said),) = server_findings(site)
    assert (status, name) == ("fail", "certificate")
    assert "the server's does not hold" in said


def test_a_ca_that_is_not_there_is_said(site: EnrolledSite) -> None:
    site.configure(ca="nowhere.pem")
    ((status, name, said),) = server_findings(site)
    assert (status, name) == ("fail", "certificate")
    assert "nowhere.pem: the server's CA cannot be used" in said


@pytest.mark.slow
@pytest.mark.parametrize(("days", "status"), [(-1, "fail"), (5, "warn"), (29, "warn"), (31, None)])
def test_the_end_of_a_certificate_is_warned_of_early(
    site: EnrolledSite, server: FleetServer, authority: Authority, days: int, status: str | None
) -> None:
    server.stop()
    server.tls = authority.issue(days=days)
    server.start()
    try:
        site.configure(server=server.address)
        found = [entry[0] for entry in server_findings(site) if entry[1] == "certificate"]
    finally:
        server.stop()
        server.tls = authority.issue()
        server.start()
    assert found == ([status] if status else [])


def test_the_end_of_the_authority_is_warned_of_early(
    site: EnrolledSite, tmp_path: Path, tiny_base: Callable[..., Path]
) -> None:
    ending = Authority(tmp_path, "ending", days=10)
    with FleetServer(keyed=True, tls=ending.issue()) as server:
        server.register(load_node_key(site.directory / "node.key"))
        site.configure(server=server.address, ca=str(ending.ca))
        ((status, name, said),) = server_findings(site)
    assert (status, name) == ("warn", "certificate")
    assert "the CA certificate ending.pem ends on" in said


# Two seconds from either limit: the server's date counts whole ones.
@pytest.mark.parametrize(("seconds", "status"), [(-400, "fail"), (60, "fail"), (-100, "warn"), (3, "warn"), (0, None)])
def test_a_clock_that_is_off_is_said(
    site: EnrolledSite, monkeypatch: pytest.MonkeyPatch, seconds: int, status: str | None
) -> None:
    now = time.time
    monkeypatch.setattr(connection_module, "time", SimpleNamespace(time=lambda: now() + seconds))
    wanted = [status] if status else []
    for _ in range(5):  # an answer that takes longer than the clock is off tells nothing: it is asked again
        found = [entry[0] for entry in server_findings(site) if entry[1] == "clock"]
        if found == wanted:
            break
    assert found == wanted


def test_a_key_that_the_server_does_not_know_is_said(site: EnrolledSite) -> None:
    another_node_key(site)
    found = [entry for entry in server_findings(site) if entry[1] == "node key"]
    assert [(status, "have the coordinator add this site's card" in said) for status, _, said in found] == [
        ("fail", True)
    ]
