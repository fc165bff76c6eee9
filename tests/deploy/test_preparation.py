"""What the charts' init containers do, done here: their scripts, with the paths moved below a test's directory."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from charts import Rendered, rendered

from sealora_client.site.config import SiteConfig
from sealora_client.site.enrolment import make_keys
from sealora_common.identity import Identity
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.tls.certificates import create_authority, issue_certificate


def mount(directory: Path, files: dict[str, str]) -> None:
    """Files as Kubernetes mounts them: links through a hidden directory."""
    hidden = directory / "..data"
    hidden.mkdir(parents=True)
    for name, content in files.items():
        (hidden / name).write_text(content)
        (directory / name).symlink_to(f"..data/{name}")


def prepare(chart: Rendered, root: Path) -> str:
    """Runs the init container's script; returns what it printed."""
    (container,) = chart.pod["initContainers"]
    script = container["args"][0].replace("/var/lib/sealora", f"{root}/lib").replace("/etc/sealora", f"{root}/etc")
    (root / "lib").mkdir(exist_ok=True)
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    words = [*container["command"], script]
    done = subprocess.run(words, env={"PATH": programs, "HOME": str(root)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def modes(directory: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir() if path.is_file()}


def test_the_server_is_made_once_and_configured_at_every_start(tmp_path: Path) -> None:
    chart = rendered("sealora-server/minimal")
    mount(tmp_path / "etc" / "config", chart.one("ConfigMap")["data"])
    assert "Fingerprint of that key, to be read out to the coordinator" in prepare(chart, tmp_path)
    server = ServerDirectory(tmp_path / "lib" / "server" / "server.yaml")
    assert server.config.log == "json"
    assert server.certificate.exists()
    key = Identity.load("server", server.identity).public_key

    server.config_file.write_text("hosts: [changed.by.hand]\n")
    assert prepare(chart, tmp_path) == ""
    assert Identity.load("server", server.identity).public_key == key
    assert ServerDirectory(server.config_file).config.hosts == ("sealora.example.org",)
    assert stat.S_IMODE(server.config_file.stat().st_mode) == 0o600


def test_the_server_takes_the_operator_s_own_certificate(tmp_path: Path) -> None:
    chart = rendered("sealora-server/own-certificate")
    tls = tmp_path / "etc" / "tls"
    create_authority(tls / "ca.crt", tmp_path / "ca.key", "sealora.example.org")
    issue_certificate(
        ["sealora.example.org", "192.0.2.7"],
        authority=tls / "ca.crt",
        authority_key=tmp_path / "ca.key",
        certificate=tls / "tls.crt",
        key=tls / "tls.key",
    )
    mount(tmp_path / "etc" / "config", chart.one("ConfigMap")["data"])
    prepare(chart, tmp_path)
    assert Identity.load("server", tmp_path / "lib" / "server" / "identity.pem")
    assert not (tmp_path / "lib" / "server" / "tls").exists()


@pytest.mark.parametrize("agreed", [False, True])
def test_a_site_gets_its_configuration_and_what_was_agreed_and_keeps_its_keys(tmp_path: Path, agreed: bool) -> None:
    chart = rendered("sealora-site/minimal")
    mount(tmp_path / "etc" / "config", chart.one("ConfigMap")["data"])
    names = ["recipe.yaml", "roster.json", "policy.yaml", "ca.pem"] if agreed else []
    mount(tmp_path / "etc" / "agreement", dict.fromkeys(names, "first"))
    prepare(chart, tmp_path)
    site = tmp_path / "lib" / "site"
    assert {path.name for path in site.iterdir()} == {"site.yaml", *names}
    assert SiteConfig.load(site / "site.yaml").name == "hospital-a"

    make_keys("hospital-a", site, None)
    key = Identity.load("hospital-a", site / "identity.pem").public_key
    for name in names:
        (tmp_path / "etc" / "agreement" / "..data" / name).write_text("second")
    prepare(chart, tmp_path)
    assert Identity.load("hospital-a", site / "identity.pem").public_key == key
    assert {(site / name).read_text() for name in names} == ({"second"} if agreed else set())
    (site / "hospital-a.card.json").unlink()  # public
    assert modes(site) == {0o600}
