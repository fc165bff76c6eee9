"""TLS to the server: the pinned authority and no other, and certificates that are replaced meanwhile."""

from __future__ import annotations

import pytest
from fleet_server import FleetServer, wait_until
from fleet_site import FleetSite, new_key
from flwr.app import RecordDict

from certificates import Authority
from handshakes import needs_hybrid, only_group, server_context, shaken
from sealora_client.fleet.connection import FleetConnection
from sealora_client.fleet.errors import SessionRefusedError
from sealora_common.errors import StorageError
from sealora_common.network.tls import client_context


@pytest.fixture
def authority(tmp_path):
    (tmp_path / "tls").mkdir()
    return Authority(tmp_path / "tls")


@pytest.fixture
def key():
    return new_key()


@pytest.fixture
def server(authority, key):
    with FleetServer(keyed=True, tls=authority.issue()) as running:
        running.register(key)
        yield running


def serves(server, site) -> bool:
    wait_until(lambda: site.health.ready)
    run = server.start_run()
    reply = server.reply(run, server.order(run, server.node_of(site.key), "query.hello", RecordDict()))
    return bool(reply.has_content())


def site_of(server, key, ca, tmp_path) -> FleetSite:
    return FleetSite(tmp_path, server.address, key=key, connection=FleetConnection(server.address, key, ca))


def said(site) -> str:
    return site.health.state.parts["server"].said


def test_a_site_joins_a_server_of_the_pinned_authority(server, authority, key, tmp_path):
    with site_of(server, key, authority.ca, tmp_path) as site:
        assert serves(server, site)


@pytest.mark.parametrize("pinned", ["another", "the system's"])
def test_a_server_of_any_other_authority_is_told_nothing(server, key, tmp_path, pinned):
    ca = Authority(tmp_path, "other").ca if pinned == "another" else None
    with site_of(server, key, ca, tmp_path) as site:
        wait_until(lambda: "does not hold" in said(site))
        assert "ask the server's operator whether it was replaced" in said(site)
    assert server.asked == []


def test_a_certificate_for_another_host_is_refused(authority, key, tmp_path):
    with FleetServer(keyed=True, tls=authority.issue("127.0.0.2")) as server:
        connection = FleetConnection(server.address, key, authority.ca)
        with pytest.raises(SessionRefusedError, match=r"does not hold .*127\.0\.0\.1") as caught:
            connection.open()
        assert caught.value.reason == "certificate"


def test_an_expired_certificate_is_refused(authority, key, tmp_path):
    expired = FleetServer(keyed=True, tls=authority.issue(days=-1))
    with expired as server, pytest.raises(SessionRefusedError, match=r"does not hold .*expired"):
        FleetConnection(server.address, key, authority.ca).open()


def test_a_renewed_certificate_of_the_same_authority_needs_nothing_of_the_site(server, authority, key, tmp_path):
    with site_of(server, key, authority.ca, tmp_path) as site:
        assert serves(server, site)
        server.stop()
        server.tls = authority.issue()
        server.start()
        assert serves(server, site)


def test_a_new_authority_is_taken_from_its_file_without_a_restart(server, authority, key, tmp_path):
    with site_of(server, key, authority.ca, tmp_path) as site:
        assert serves(server, site)
        server.stop()
        new = Authority(tmp_path, "new")
        server.tls = new.issue()
        server.start()
        wait_until(lambda: "does not hold" in said(site))
        authority.ca.write_bytes(new.ca.read_bytes())
        assert serves(server, site)


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), (b"no certificate", "no certificate in PEM form")]
)
def test_a_ca_file_that_cannot_be_used_is_said(tmp_path, key, content, why):
    path = tmp_path / "own.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StorageError, match=rf"own\.pem: the server's CA cannot be used \({why}"):
        FleetConnection("https://127.0.0.1:1", key, path)


@pytest.mark.parametrize("group", ["X25519", "prime256v1", "secp384r1", "secp521r1", "X448"])
def test_a_server_that_has_one_classical_group_alone_is_still_reached(authority, group):
    context = server_context(authority)
    only_group(context, group)
    assert shaken(context, client_context(authority.ca)).is_quantum_safe is False


@needs_hybrid
def test_the_hybrid_group_is_used_where_openssl_has_it(authority):
    assert shaken(server_context(authority), client_context(authority.ca)).group == "X25519MLKEM768"
