"""The process of a dashboard: started by `sealora dashboard`, or by a server as one of its own."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Callable

from sealora_common.config import LINE, from_json, read_stream
from sealora_common.errors import SealoraError
from sealora_common.health.logs import set_up_logs
from sealora_common.web.login import one_token
from sealora_common.web.serve import answer_requests, url_of
from sealora_common.web.sessions import Role
from sealora_common.web.token_file import made_token
from sealora_server.dashboard.app import Dashboard
from sealora_server.dashboard.operated import Operated
from sealora_server.dashboard.settings import DashboardProcessSettings, DashboardSettings
from sealora_server.dashboard.watched import Watched
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.processes.process import die_with

log = logging.getLogger("sealora_server.dashboard.serving")  # as a program it is `__main__`, whose lines are not kept

_READING_SECONDS = 5.0


def serve_dashboard(
    watched: Watched,
    settings: DashboardSettings,
    taken: socket.socket,
    tell: Callable[[str], None],
    *,
    operated: Operated | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        watched: what it is of.
        settings: how it is served.
        taken: where; from `settings.address.taken()`, or a supervisor's.
        tell: told the URL, once it can be asked.
        operated: the server at which those who may do more than look; None: nobody may.

    Raises:
        PolicyError: the token's file cannot be used, or the certificate, or what says who logs in.
        StorageError: the token's file cannot be written.
        KeyboardInterrupt: SIGINT came; all is closed then.
    """
    address = settings.address
    reader = one_token(made_token(settings.token_file), Role.READER, "reader")
    names = [address.host, *settings.names]
    mark = f"server-{taken.getsockname()[1]}"
    if operated is None:
        dashboard = Dashboard.of(watched, reader, mark, is_secure=address.is_secure)
        app = dashboard.application(names, "https" if address.is_secure else "http")
    else:
        dashboard, app = operated.dashboard(watched, reader, names, mark, is_secure=address.is_secure)
    reading = threading.Thread(target=watched.read_all, name="reading", daemon=True)
    reading.start()
    reading.join(_READING_SECONDS)  # what takes longer is told of as being read
    answer_requests(
        app,
        taken,
        lambda: tell(url_of(taken, "https" if address.certificate is not None else "http")),
        certificate=address.certificate,
        stopping=dashboard.streams.close,
    )


def main() -> None:
    """Entry point of a server's own process."""
    told = from_json(DashboardProcessSettings, read_stream(sys.stdin.buffer, LINE.longest))
    die_with(told.supervisor)
    server = ServerDirectory(told.config_file)
    set_up_logs(server.config.log)
    section = server.config.dashboard
    if section is None:
        sys.exit("server.yaml has no section dashboard any more: start the server again")
    try:
        settings = DashboardSettings.of(section.listen, section.names, server.path / section.token, section.tls, server)
        serve_dashboard(
            Watched([server.path]),
            settings,
            socket.socket(fileno=told.listener),
            lambda url: log.info("the dashboard is at %s; what logs a reader in is in %s", url, settings.token_file),
            operated=Operated.running(server, section, told.secret),
        )
    except SealoraError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
