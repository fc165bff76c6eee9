"""`sealora server run`: starts what a server consists of, watches it, and answers its operator."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from typing import Any, TextIO, cast

from prometheus_client import CollectorRegistry

from sealora_common.entropy import SystemEntropy
from sealora_common.errors import SealoraError
from sealora_common.health.grpc_server import GrpcHealthServer
from sealora_common.health.http_server import HealthServer
from sealora_common.health.logs import set_up_logs
from sealora_common.health.status import Health
from sealora_common.identity import Identity
from sealora_common.network.proxy import without_proxies
from sealora_common.records.run_state import RunState
from sealora_common.storage.lock import DirectoryLock
from sealora_common.storage.own_files import make_directory
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.front.handshake import handshake_sentence
from sealora_server.deployment.log_file import LogFile
from sealora_server.deployment.metrics import ServerCollector
from sealora_server.deployment.operator.messages import (
    Act,
    AskStatus,
    ProcessStatus,
    Result,
    RunCondition,
    SiteStatus,
    Status,
)
from sealora_server.deployment.operator.operations import Operations
from sealora_server.deployment.operator.person import Person
from sealora_server.deployment.operator.socket import serve_operator
from sealora_server.deployment.processes.readiness import notify
from sealora_server.deployment.processes.service import Service
from sealora_server.deployment.processes.services import dashboard_spec, front_spec, superlink_spec
from sealora_server.deployment.processes.sockets import listen_tcp, listen_unix, shown_address
from sealora_server.deployment.runs.host import RunHost
from sealora_server.deployment.site_watch import SiteWatch
from sealora_server.deployment.superlink.client import SuperLinkClient
from sealora_server.deployment.tls.certificate_watch import CertificateWatch

log = logging.getLogger(__name__)

CERTIFICATE = "certificate"
"""Among the parts of a server's health: without a valid one no site can connect, though every process is up."""
_UP_SECONDS = 60.0
_STOP_SECONDS = 5.0
_LOOK_SECONDS = 1.0
_SITES_SECONDS = 2.0


def run_server(server: ServerDirectory) -> None:
    """Runs the server until it is told to stop (SIGTERM, SIGINT).

    Raises:
        LockedError: it runs already.
        DeploymentError: it is not set up as it must be, or a process of its own died too often.
        StorageError: a file could not be written or read.
    """
    for name in os.environ.keys() - without_proxies(os.environ).keys():
        del os.environ[name]  # Flower's clients would read them, though they speak to this machine alone
    server.check_path()
    places = (server.state, server.state / "flower", server.state / "nginx", server.sockets, server.log.parent)
    for directory in (server.path, server.runs, *places):
        make_directory(directory)
    with DirectoryLock(server.path, "this server"), contextlib.ExitStack() as stack:
        log_file = stack.enter_context(contextlib.closing(LogFile(server.log, names=server.config.log == "text")))
        set_up_logs(server.config.log, stream=cast(TextIO, log_file))
        stack.callback(set_up_logs, server.config.log, stream=sys.stderr)
        supervisor = Supervisor(server, log_file, stack)
        asyncio.run(supervisor.run())


class Supervisor:
    """The server's processes, its operator's socket, its probes and its metrics.

    Args:
        server: its directory.
        log_file: takes what the processes say.
        stack: closes what is opened here.
    """

    def __init__(self, server: ServerDirectory, log_file: LogFile, stack: contextlib.ExitStack) -> None:
        self._server = server
        self._log_file = log_file
        self._stack = stack
        self._identity = Identity.load("server", server.identity)
        self._certificates = CertificateWatch(server, self._reload_front)
        self._listeners: list[socket.socket] = []
        secret = SystemEntropy().bytes(32)
        superlink_listener = self._keep(listen_unix(server.superlink_socket))
        fleet_listener = self._keep(listen_unix(server.fleet_socket))
        self._client = SuperLinkClient(server.superlink_socket, secret)
        spec = superlink_spec(server, superlink_listener, fleet_listener, secret)
        self._superlink = Service(spec, self._lines_of("superlink"), self._superlink_started)
        self._front: Service | None = None
        self.address: str | None = None
        if server.config.front != "none":
            listener = None
            if server.config.front == "embedded":
                listener = self._keep(listen_tcp(server.config.listen))
            self.address = shown_address(listener) if listener else server.config.listen
            self._front = Service(front_spec(server, listener), self._lines_of("front"))
        self._dashboard: Service | None = None
        self._dashboard_secret: str | None = None
        if server.config.dashboard is not None:
            pages = self._keep(listen_tcp(server.config.dashboard.listen))
            self._dashboard_secret = SystemEntropy().bytes(32).hex()
            spec = dashboard_spec(server, pages, self._dashboard_secret)
            self._dashboard = Service(spec, self._lines_of("dashboard"))
        self._health = Health(*self._parts, CERTIFICATE)
        self._health_address: str | None = None
        host = RunHost(server, os.getpid(), self._client, asyncio.Lock(), log_file.take)
        self._operations = Operations(host, self._identity.public_key)
        self._sites: tuple[SiteStatus, ...] = ()
        self._site_watch = SiteWatch()
        self._is_up = False

    async def run(self) -> None:
        """Runs until a signal, or until a process cannot be kept running."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._certificates.look)
        self._serve_health()
        operator_listener = self._keep(listen_unix(self._server.operator_socket))
        operator = await serve_operator(operator_listener, self.handle, dashboard=self._dashboard_secret)
        tasks = [asyncio.create_task(stopping.wait()), asyncio.create_task(self._certificates.watch())]
        tasks += [asyncio.create_task(service.keep_running()) for service in self._services]
        if self._dashboard is not None:
            tasks.append(asyncio.create_task(self._keep_dashboard(self._dashboard)))
        tasks += [asyncio.create_task(self._look_around()), asyncio.create_task(self._watch_sites())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except SealoraError as error:
            self._health.fail(str(error))
            raise
        finally:
            notify("STOPPING=1")
            operator.close()
            await self._stop(tasks)

    async def handle(self, request: Act, person: Person) -> Result:
        """Answers the request of an operator.

        Raises:
            SealoraError: it cannot be done.
        """
        if isinstance(request, AskStatus):
            return await self._status()
        return await self._operations.handle(request, person)

    # What the metrics are read from, in the thread that serves them.

    @property
    def processes(self) -> tuple[ProcessStatus, ...]:
        shown = [*self._services, *([self._dashboard] if self._dashboard else [])]
        return tuple(service.status for service in shown)

    @property
    def run_states(self) -> dict[str, tuple[RunCondition, RunState]]:
        return {name: (run.condition, run.state) for name, run in list(self._operations.runs.items())}

    @property
    def certificate_expiry(self) -> float:
        return self._certificates.expires.timestamp()

    @property
    def _services(self) -> list[Service]:
        return [self._superlink, *([self._front] if self._front else [])]

    @property
    def _parts(self) -> list[str]:
        return [service.name for service in self._services]

    async def _superlink_started(self) -> None:
        await asyncio.to_thread(self._client.wait_until_up, _UP_SECONDS)
        if not self._is_up:
            await asyncio.to_thread(self._client.end_runs)
        await self._operations.restore_nodes()
        await asyncio.to_thread(self._client.open_fleet)
        self._operations.start_runs()
        if not self._is_up:
            self._is_up = True
            log.info("the server is up: sites connect to %s", self.address or "a front of the operator's own")
            notify("READY=1")

    async def _keep_dashboard(self, dashboard: Service) -> None:
        """Keeps it running, and does without it where that cannot be: no round waits for a page."""
        try:
            await dashboard.keep_running()
        except SealoraError as error:
            log.error("there is no dashboard until the server is started again: %s", error)
            await asyncio.Event().wait()

    async def _look_around(self) -> None:
        """Keeps progress and health up to date."""
        while True:
            for run in self._operations.runs.values():
                if run.condition == "running":
                    run.look()
            if self._is_up:
                self._operations.begin_those_whose_turn_it_is()
            for service in self._services:
                up = service.status.pid is not None and self._is_up
                self._health.report(service.name, up, "up" if up else "down")
            expired = self._certificates.expired
            self._health.report(CERTIFICATE, not expired, " ".join(expired) or "valid")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _watch_sites(self) -> None:
        """Says which sites come and go, and offers those that come what they lack of runs that are over."""
        while True:
            if self._is_up:
                with contextlib.suppress(SealoraError):  # a SuperLink that is down is told of by whoever starts it
                    nodes = await asyncio.to_thread(self._client.nodes)
                    self._site_watch.look(nodes)
                    self._operations.offer_adapters(nodes)
            await asyncio.sleep(_SITES_SECONDS)

    async def _status(self) -> Status:
        warnings = list(self._certificates.warnings)
        warnings += [self._operations.node_problem] if self._operations.node_problem else []
        tls = "not known: the server is starting"
        if self._is_up:  # before, the SuperLink and the front would be waited for
            tls = await asyncio.to_thread(handshake_sentence, self.address, self._server.config.hosts[0])
            try:
                self._sites = await self._operations.sites()
            except SealoraError as error:
                warnings.append(str(error))
        offline = frozenset(site.name for site in self._sites if not site.online)
        return Status(
            up=self._is_up,
            address=self.address,
            hosts=self._server.config.hosts,
            server_key=self._identity.fingerprint,
            health=self._health_address,
            certificate_expires=self._certificates.expires.isoformat(timespec="seconds"),
            tls=tls,
            warnings=tuple(warnings),
            processes=self.processes,
            sites=self._sites,
            runs=self._operations.statuses(offline),
        )

    def _serve_health(self) -> None:
        section = self._server.config.health
        if section.http is not None:
            registry = CollectorRegistry()
            registry.register(ServerCollector(self))
            http = self._stack.enter_context(HealthServer(section.http, self._health, registry))
            self._health_address = "{}:{}".format(*http.address)
        if section.grpc is not None:
            self._stack.enter_context(GrpcHealthServer(section.grpc, self._health))

    async def _stop(self, tasks: list[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await self._operations.pause_runs()
        if self._dashboard is not None:
            await self._dashboard.stop(_STOP_SECONDS)
        for service in reversed(self._services):  # the front first: no request is left waiting for the SuperLink
            await service.stop(_STOP_SECONDS)
        # Whoever still waits for the SuperLink is told now that it is gone.
        for listener in self._listeners:
            listener.close()
        self._client.close()
        log.info("the server has stopped")

    def _reload_front(self) -> None:
        if self._front is not None:
            self._front.send(signal.SIGHUP)

    def _keep(self, listener: socket.socket) -> socket.socket:
        self._listeners.append(self._stack.enter_context(listener))
        return listener

    def _lines_of(self, process: str) -> Any:
        return lambda line: self._log_file.take(process, line)
