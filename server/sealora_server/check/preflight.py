"""The whole pre-flight of a server, in the order in which a person would put things right. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator

from sealora_common.errors import SealoraError
from sealora_common.health.finding import Finding, failed, passed, warned
from sealora_server.check.certificate import check_served_certificate
from sealora_server.check.files import check_files
from sealora_server.check.reach import check_port, check_reach
from sealora_server.check.runs import check_clock, check_room, check_rosters
from sealora_server.check.versions import check_versions
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.messages import AskStatus, Status, status_of
from sealora_server.deployment.operator.socket import ask


def server_preflight(server: ServerDirectory) -> Iterator[Finding]:
    """One finding after the other as it is found; a server that is at work is asked how it is, and not disturbed."""
    try:
        _ = server.config
        server.check_path()
    except SealoraError as error:
        yield failed("server.yaml", str(error))
        return
    yield passed("server.yaml", f"{server.config_file}, for {', '.join(server.config.hosts)}")
    yield from check_files(server)
    yield from check_served_certificate(server)
    status = _status(server)
    if status is None:
        yield warned("server", f"does not run: start it with `sealora server run --config {server.config_file}`")
        yield from check_port(server)
    else:
        yield from _on_processes(status)
        yield from check_reach(server, status.address)
        yield from _on_sites(status)
    yield from check_room(server)
    yield from check_rosters(server)
    yield check_clock(server)
    yield from check_versions()


def _status(server: ServerDirectory) -> Status | None:
    try:
        return status_of(ask(server.operator_socket, AskStatus()))
    except DeploymentError:
        return None


def _on_processes(status: Status) -> Iterator[Finding]:
    down = [process.name for process in status.processes if process.pid is None]
    if not status.up or down:
        yield warned(
            "server", f"is starting ({', '.join(down) or 'sites cannot connect yet'}): check again in a minute"
        )
    else:
        yield passed("server", f"runs: {', '.join(process.name for process in status.processes)}")
    for warning in status.warnings:
        yield warned("server", warning)
    for run in status.runs:
        if run.condition in {"failed", "damaged"}:
            yield warned("run", f"{run.name} is {run.condition}: {run.said}")


def _on_sites(status: Status) -> Iterator[Finding]:
    away = [site.name for site in status.sites if not site.online]
    if not status.sites:
        yield warned("sites", "none may connect: let a roster's with `sealora server register --roster`")
    elif away:
        there = len(status.sites) - len(away)
        yield warned(
            "sites", f"{there} of {len(status.sites)} connected; ask for {', '.join(away)} if a run needs them"
        )
    else:
        yield passed("sites", f"all {len(status.sites)} are connected")
