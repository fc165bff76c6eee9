"""A replaced certificate, one that expires soon, a log that is flooded, and what systemd is told."""

from __future__ import annotations

import logging
import socket
import stat
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.initialise import initialise, renew_certificate
from sealora_server.deployment.log_file import LogFile
from sealora_server.deployment.processes.readiness import notify
from sealora_server.deployment.tls.certificate_watch import CertificateWatch


@pytest.fixture
def server(tmp_path):
    return initialise(tmp_path / "server", ["localhost"])[0]


@pytest.fixture
def watch(server):
    replaced: list[int] = []
    watch = CertificateWatch(server, lambda: replaced.append(1))
    watch.replaced = replaced
    return watch


def test_a_renewed_certificate_is_noticed_once(server, watch):
    before = watch.expires
    watch.look()
    assert watch.replaced == []
    renew_certificate(server)
    watch.look()
    watch.look()
    assert watch.replaced == [1]
    assert watch.expires >= before


def test_a_pair_that_does_not_match_is_reported_and_not_taken(server, watch, caplog):
    key = server.key.read_bytes()
    renew_certificate(server)
    server.key.write_bytes(key)
    with caplog.at_level(logging.ERROR):
        watch.look()
        watch.look()
    assert watch.replaced == []
    assert [record.message for record in caplog.records] == [
        f"{server.key}: not the key of {server.certificate}: put the matching pair there; the old certificate stays in "
        "use"
    ]
    renew_certificate(server)
    watch.look()
    assert watch.replaced == [1]


def test_a_certificate_that_is_not_there_is_reported_and_the_old_one_stays(server, watch, caplog):
    server.certificate.unlink()
    watch.look()
    assert watch.replaced == []
    assert "cannot be read (No such file or directory)" in caplog.text


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def test_expiry_is_warned_of_early(server):
    clock = Clock()
    watch = CertificateWatch(server, lambda: None, clock)
    assert watch.warnings == ()
    clock.ahead = timedelta(days=340)
    [warning] = watch.warnings
    assert warning.startswith(f"{server.certificate} expires in 2")
    assert f"on {datetime.now(UTC) + timedelta(days=365):%Y-%m}" in warning
    assert warning.endswith(": renew it (`sealora server certificate renew`)")
    assert watch.expired == ()


@pytest.mark.parametrize(("days", "files"), [(365.01, ["server.pem"]), (3651, ["server.pem", "ca.pem"])])
def test_what_has_expired_is_called_so_in_the_moment_it_does_and_once_a_day(server, caplog, days, files):
    clock = Clock()
    watch = CertificateWatch(server, lambda: None, clock)
    watch.remind()
    assert caplog.records == []
    clock.ahead = timedelta(days=364.9)
    watch.remind()  # the daily look is over: it is told at the next, or when it expires
    clock.ahead = timedelta(days=days)
    for _ in range(3):
        watch.remind()
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert told == list(watch.expired)
    assert [line.partition(" ")[0].rpartition("/")[2] for line in told] == files
    for line in told:
        assert " expired on 20" in line
        assert "so sites refuse this server: renew it (`sealora server certificate renew`)" in line
    assert set(watch.expired) <= set(watch.warnings)
    assert not any("expires in 0 days" in line or "expires in -" in line for line in watch.warnings)


def test_a_server_does_not_start_with_a_certificate_it_cannot_use(server):
    server.certificate.write_text("none")
    with pytest.raises(DeploymentError, match="not a certificate in PEM form"):
        CertificateWatch(ServerDirectory(server.config_file), lambda: None)


def test_the_log_holds_what_processes_say_under_their_names(tmp_path, capsys):
    log = LogFile(tmp_path / "logs" / "server.log")
    log.take("front", "a line of 100 %s")
    log.write("our own\n")
    log.close()
    assert (tmp_path / "logs" / "server.log").read_text() == "[front] a line of 100 %s\nour own\n"
    assert capsys.readouterr().err == "[front] a line of 100 %s\nour own\n"


def test_lines_of_json_are_left_as_they_are(tmp_path):
    log = LogFile(tmp_path / "server.log", names=False)
    log.take("front", '{"message": "x"}')
    log.close()
    assert (tmp_path / "server.log").read_text() == '{"message": "x"}\n'


def test_a_process_that_floods_the_log_does_not_drown_the_others(tmp_path, caplog, monkeypatch):
    now = iter([0.0] * 1000 + [60.0] * 2)
    monkeypatch.setattr("sealora_server.deployment.log_file.time.monotonic", lambda: next(now))
    log = LogFile(tmp_path / "server.log")
    for number in range(999):
        log.take("superlink", str(number))
    log.take("front", "the front")
    log.take("superlink", "later")
    log.close()
    lines = (tmp_path / "server.log").read_text().splitlines()
    assert len(lines) == 202
    assert lines[-2:] == ["[front] the front", "[superlink] later"]
    assert caplog.messages == ["superlink: 799 lines were left out here"]


def test_the_log_does_not_grow_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("sealora_server.deployment.log_file._BYTES", 1000)
    log = LogFile(tmp_path / "server.log")
    for number in range(2000):
        log.write(f"line {number}\n")
    log.close()
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 6
    assert max(sizes) <= 1000


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_is_told(tmp_path, monkeypatch, kind):
    address = str(tmp_path / "notify") if kind == "path" else f"\0{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))
        notify("READY=1")
        listener.settimeout(5)
        assert listener.recv(100) == b"READY=1"


def test_without_systemd_nothing_is_told_and_nothing_fails(tmp_path, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    notify("READY=1")


def moved(path):
    path.rename(path.with_suffix(".1"))


def truncated(path):
    path.with_suffix(".1").write_bytes(path.read_bytes())
    path.write_bytes(b"")


def replaced(path):
    moved(path)
    path.write_text("made by logrotate\n")


def deleted(path):
    path.unlink()


@pytest.mark.parametrize("rotate", [moved, truncated, replaced, deleted])
def test_a_log_that_is_rotated_from_outside_goes_on_under_its_name_and_the_old_file_is_let_go(tmp_path, rotate):
    path = tmp_path / "server.log"
    log = LogFile(path)
    for number in range(3):
        log.write(f"line {number}\n")
        rotate(path)
        log.write(f"after {number}\n")
        assert path.read_text().endswith(f"after {number}\n")
        assert f"line {number}" not in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or rotate is replaced
        assert [file.path for file in psutil.Process().open_files() if str(tmp_path) in file.path] == [str(path)]
    log.close()
