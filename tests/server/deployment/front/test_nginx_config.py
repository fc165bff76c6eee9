"""nginx' configuration: what `deploy/nginx.conf` holds is what the server writes, and nginx itself takes it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from front_bench import HAS_NGINX
from typer.testing import CliRunner

from sealora_server.cli import cli
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.front.nginx import nginx_config, own_account, prepare_nginx
from sealora_server.deployment.initialise import initialise
from sealora_server.deployment.superlink.paths import FLEET_PATHS

DEPLOYED = Path(__file__).parents[4] / "deploy" / "nginx.conf"
DIRECTORY = "/var/lib/sealora-server/server"


@pytest.fixture
def server(tmp_path):
    return initialise(tmp_path / "server", ["localhost"])[0]


def test_the_file_in_deploy_is_what_a_server_of_the_systemd_unit_writes(server):
    destination = Path("/etc/sealora/nginx.conf")
    written = nginx_config(server, destination, ("sealora-server", "sealora-server"))
    assert DEPLOYED.read_text() == written.replace(str(server.path), DIRECTORY)


def test_it_passes_on_the_fleet_paths_and_the_health_check_and_nothing_else(server):
    written = nginx_config(server, Path("/x"), ("a", "b"))
    passed = [line.split()[1].removesuffix(";") for line in written.splitlines() if "proxy_pass" in line]
    assert sorted(passed) == sorted(f"http://superlink{path}" for path in [*FLEET_PATHS, "/health"])
    locations = [line.split()[1:-1] for line in written.splitlines() if line.strip().startswith("location")]
    assert sorted(map(tuple, locations)) == sorted([("/",), ("=", "/healthz"), *(("=", path) for path in FLEET_PATHS)])


def test_it_names_no_group_that_an_openssl_may_lack(server):
    """nginx does not start with one; `auto` is OpenSSL's own list, whichever OpenSSL it is."""
    written = nginx_config(server, Path("/x"), ("a", "b"))
    directives = [line.split(";")[0].split() for line in written.splitlines()]
    assert [words[1:] for words in directives if words and words[0] == "ssl_ecdh_curve"] == [["auto"]]
    assert not [words for words in directives if words and words[0] == "ssl_conf_command"]


def test_the_command_prints_it(server):
    words = ["server", "nginx-config", "--config", str(server.config_file), "--account", "a:b", "--destination", "/x/y"]
    said = CliRunner().invoke(cli, words).output
    assert said == nginx_config(server, Path("/x/y"), ("a", "b")) + "\n"
    assert "user a b;" in said


@pytest.mark.skipif(not HAS_NGINX, reason="nginx is not installed")
@pytest.mark.parametrize("listen", ["127.0.0.1:9443", "[::1]:9443", "0.0.0.0:9443"])
def test_nginx_takes_it(tmp_path, listen):
    server, _ = initialise(tmp_path / "server", ["localhost"], listen=listen)
    settings = prepare_nginx(server)
    done = subprocess.run(
        [settings.program, "-t", "-e", "stderr", "-c", settings.config], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr or os.geteuid() != 0


def test_a_path_that_nginx_would_read_otherwise_is_refused(tmp_path):
    server, _ = initialise(tmp_path / "a b;c", ["localhost"])
    with pytest.raises(DeploymentError, match="nginx cannot be told a path with such characters"):
        nginx_config(server, Path("/x"), ("a", "b"))


def test_nginx_takes_no_free_port(server):
    server.config_file.write_text("hosts: [localhost]\nlisten: 127.0.0.1:0")
    if HAS_NGINX:
        with pytest.raises(DeploymentError, match="listen: nginx cannot take a free port: name one"):
            prepare_nginx(ServerDirectory(server.config_file))


def test_without_nginx_the_operator_is_told_what_to_do(server, monkeypatch):
    monkeypatch.setattr("sealora_server.deployment.front.nginx.shutil.which", lambda *_, **__: None)
    with pytest.raises(DeploymentError, match=r"nginx is not installed: apt-get install nginx-light, or set front"):
        prepare_nginx(server)


def test_the_account_is_this_process_s_own(monkeypatch):
    user, group = own_account()
    assert user
    assert group
    monkeypatch.setattr("sealora_server.deployment.front.nginx.pwd.getpwuid", lambda number: {}[number])
    assert own_account() == (str(os.geteuid()), str(os.getegid()))
