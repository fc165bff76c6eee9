"""An enrolled site and its server, for `sealora-site check`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from enrolled_site import EnrolledSite
from fleet_server import FleetServer

from certificates import Authority
from sealora_client.fleet.node_key import load_node_key


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[FleetServer]:
    with FleetServer(keyed=True, tls=authority.issue()) as running:
        yield running


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Callable[..., Path], server: FleetServer, authority: Authority
) -> EnrolledSite:
    site = EnrolledSite(tmp_path_factory.mktemp("site"), tiny_base(), server.address)
    site.configure(ca=str(authority.ca))
    server.register(load_node_key(site.directory / "node.key"))
    return site


@pytest.fixture
def site(template: EnrolledSite, tmp_path: Path) -> Iterator[EnrolledSite]:
    """A copy that a test may spoil."""
    original = template.directory
    template.directory = tmp_path / "site"
    shutil.copytree(original, template.directory)
    yield template
    template.directory = original
