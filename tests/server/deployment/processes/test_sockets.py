from __future__ import annotations

import os
import socket
import stat

import pytest

from sealora_common.errors import StorageError
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.processes.sockets import listen_tcp, listen_unix, shown_address


def test_a_unix_socket_is_for_this_account_alone_under_any_umask(tmp_path):
    before = os.umask(0)
    try:
        with listen_unix(tmp_path / "s"):
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_another_account_cannot_connect(tmp_path):
    """The kernel checks the mode, so a process that has given up its rights is refused."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another account")
    with listen_unix(tmp_path / "s"):
        for directory in [tmp_path, *tmp_path.parents]:
            if directory.stat().st_uid == 0 and directory != directory.parent:
                directory.chmod(directory.stat().st_mode | 0o011)
        child = os.fork()
        if child == 0:
            try:
                os.setgid(65534)
                os.setuid(65534)
                socket.socket(socket.AF_UNIX).connect(str(tmp_path / "s"))
            except PermissionError:
                os._exit(13)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 13


def test_a_socket_that_was_left_behind_is_replaced(tmp_path):
    for _ in range(2):
        listen_unix(tmp_path / "s").close()
    with listen_unix(tmp_path / "s"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))


def test_a_socket_that_cannot_be_made_ends_in_a_sentence(tmp_path):
    with pytest.raises(StorageError, match="cannot write"):
        listen_unix(tmp_path / "missing" / "s")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_tcp_socket_takes_a_free_port_and_says_which(host):
    with listen_tcp(f"{host}:0") as listener:
        shown = shown_address(listener)
        assert shown.startswith(f"{host}:")
        with socket.create_connection((host.strip("[]"), int(shown.rpartition(":")[2]))):
            pass


def test_an_address_in_use_or_of_another_machine_is_refused_in_one_sentence():
    with listen_tcp("127.0.0.1:0") as listener:
        address = shown_address(listener)
        with pytest.raises(DeploymentError, match=rf"{address}: cannot listen there \(Address already in use\): stop"):
            listen_tcp(address)
    with pytest.raises(DeploymentError, match=r"192\.0\.2\.1:80: cannot listen there"):
        listen_tcp("192.0.2.1:80")
