"""`sealora-site run`: the site's one process, from start to the last goodbye."""

from __future__ import annotations

import gc
import logging
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from sealora_client.fleet.stop import Stop, StopNow
from sealora_client.site.config import SiteConfig
from sealora_common.errors import PolicyError, SealoraError, StorageError
from sealora_common.storage.own_files import make_directory

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from sealora_client.metrics import SiteMetrics
    from sealora_common.health.status import Health

SITE = "site"
"""Name of the site itself among the parts of its health: its files, its model, its data."""

log = logging.getLogger(__name__)


def run(
    config: Annotated[Path, typer.Option("--config", help="site.yaml; its directory is the site's.")] = Path(
        "site.yaml"
    ),
    grace: Annotated[
        float, typer.Option("--grace", min=0, help="Seconds that the message in hand has on SIGTERM or SIGINT.")
    ] = 8.0,
) -> None:
    """Run this site: connect to the server and take part in its rounds, until SIGTERM or SIGINT.

    It reconnects by itself, whatever happens to the server, the network or this machine.
    """
    from sealora_common.health.logs import set_up_logs

    directory = config.absolute().parent
    settings = SiteConfig.load(config)
    if config.name != "site.yaml":
        raise PolicyError(f"{config}: a site's configuration is the file site.yaml in its own directory: rename it")
    if settings.server is None:
        raise PolicyError(f"{config}: server: is missing: add the address of the server's front, https://host:port")
    set_up_logs(settings.log_format)
    try:
        with _signals(grace) as stop:
            _run(directory, settings, settings.server, stop)
    except SealoraError as error:
        log.error("%s", error)
        raise typer.Exit(1) from None
    except Exception:  # no traceback for a person: the log says where, without what was being worked on
        log.exception("the site failed and must be started again")
        raise typer.Exit(1) from None


def _run(directory: Path, settings: SiteConfig, server: str, stop: Stop) -> None:
    from sealora_client.app import app
    from sealora_client.fleet.connection import FleetConnection
    from sealora_client.fleet.installed_app import InstalledApp
    from sealora_client.fleet.link import PART, Link
    from sealora_client.fleet.loop import FleetLoop
    from sealora_client.fleet.node_key import load_node_key
    from sealora_client.fleet.session_record import SessionRecord
    from sealora_client.metrics import SiteMetrics
    from sealora_client.site.directory import open_site
    from sealora_client.site.process_lock import only_process
    from sealora_common.health.status import Health

    with ExitStack() as stack:
        make_directory(directory)  # also one that an earlier version, or an operator's mkdir, left open to others
        stack.enter_context(only_process(directory))
        health = Health(PART, SITE)
        metrics = SiteMetrics(settings.name)
        _serve_health(stack, settings, health, metrics.registry)
        key = load_node_key(directory / settings.node_key)
        connection = FleetConnection(server, key, None if settings.ca is None else directory / settings.ca)
        stack.callback(connection.close)
        site = open_site(directory)
        log.info("site %s: loading the model and the records", site.name)
        # Now, so that what is wrong with them is told at the start and not in the midst of a round.
        site.prepare()
        _tell_privacy(directory, metrics)
        health.report(SITE, True, "model and records are loaded")
        log.info("site %s is ready, with recipe %s (%s)", site.name, site.recipe.name, site.recipe.hash[:12])

        def after(stage: str) -> None:
            if stage in ("train", "evaluate"):
                _tell_privacy(directory, metrics)

        loop = FleetLoop(
            connection,
            InstalledApp(app, directory, metrics),
            session=SessionRecord(directory, server),
            link=Link(server, health),
            metrics=metrics,
            stop=stop,
            on_answer=after,
        )
        loop.run()


def _serve_health(stack: ExitStack, settings: SiteConfig, health: Health, registry: CollectorRegistry) -> None:
    """Starts the probes. One that cannot listen is said, and is no reason for a site not to take part."""
    from sealora_common.health.grpc_server import GrpcHealthServer
    from sealora_common.health.http_server import HealthServer

    try:
        if settings.health is not None:
            stack.enter_context(HealthServer(settings.health, health, registry))
        if settings.grpc_health is not None:
            stack.enter_context(GrpcHealthServer(settings.grpc_health, health))
    except StorageError as error:
        log.warning("site.yaml: health: %s", error)


def _tell_privacy(directory: Path, metrics: SiteMetrics) -> None:
    """Sets the metrics of the ledger. That they cannot be told now is no reason to stop."""
    from sealora_client.site.directory import open_site

    try:
        site = open_site(directory)
        if site.recipe.privacy.mechanism == "none":
            return
        with site.ledger() as ledger:
            spent = ledger.spent(site.data.train_set, site.recipe.privacy.delta)
    except SealoraError as error:
        log.warning("%s", error)
    else:
        metrics.privacy(spent, site.policy.epsilon_limit)


@contextmanager
def _signals(grace: float) -> Iterator[Stop]:
    """SIGTERM and SIGINT stop the loop after the message in hand; what is not done in `grace` seconds is given up."""
    wish = Stop()

    def stop(_number: int, _frame: FrameType | None) -> None:
        wish.set()
        # Again and again: each attempt to say goodbye gets as long, and then ends too.
        signal.setitimer(signal.ITIMER_REAL, max(grace, 0.01), max(grace, 0.5))

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise StopNow

    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGALRM: give_up}
    former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield wish
    except StopNow:
        log.info("stopped without a goodbye to the server")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in former.items():
            signal.signal(number, handler)
        # Or the interpreter's last collection of garbage walks through all of torch, for a second.
        gc.freeze()
