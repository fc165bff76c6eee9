"""The site's one process: its lock, its probes, its model and records, and the loop that answers the server."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sealora_client.operator.departure import HOW_TO_RETURN, SAID_AWAY, departure, obeyed, wait_until_wanted
from sealora_client.site.config import SiteConfig
from sealora_common.errors import SealoraError, StorageError
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.records.names import HISTORY
from sealora_common.records.site_rounds import SiteRoundsTail
from sealora_common.storage.own_files import make_directory

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from sealora_client.fleet.flower import Reply
    from sealora_client.fleet.installed_app import InstalledApp
    from sealora_client.fleet.stop import StopFlag
    from sealora_client.prometheus import SiteMetrics
    from sealora_common.health.status import Health

SITE = "site"
"""Name of the site itself among the parts of its health: its files, its model, its data."""

log = logging.getLogger(__name__)


def run_site(directory: Path, settings: SiteConfig, server: str, stop: StopFlag) -> None:
    """Runs the site in `directory` until `stop` is set.

    Args:
        directory: the site's.
        settings: its site.yaml.
        server: the address of the server's front.
        stop: ends it.

    Raises:
        SealoraError: the site cannot take part as it is; one sentence.
        StopNow: see `fleet.stop`.
    """
    from sealora_client.app import app
    from sealora_client.fleet.connection import FleetConnection
    from sealora_client.fleet.installed_app import InstalledApp
    from sealora_client.fleet.link import PART, Link
    from sealora_client.fleet.loop import FleetLoop
    from sealora_client.fleet.node_key import load_node_key
    from sealora_client.fleet.session_record import SessionRecord
    from sealora_client.model.device import choose_training_device
    from sealora_client.prometheus import SiteMetrics
    from sealora_client.site.directory import open_site
    from sealora_client.site.process_lock import only_process
    from sealora_client.training.devices.choice import close_devices
    from sealora_common.health.status import Health

    with ExitStack() as stack:
        make_directory(directory)  # also one that an earlier version, or an operator's mkdir, left open to others
        stack.enter_context(only_process(directory))
        health = Health(PART, SITE)
        metrics = SiteMetrics(settings.name)
        _serve_health(stack, settings, health, metrics.registry)
        _wait_until_wanted(directory, health, stop)
        if stop.is_set:
            return
        key = load_node_key(directory / settings.node_key)
        connection = FleetConnection(server, key, None if settings.ca is None else directory / settings.ca)
        stack.callback(connection.close)
        site = open_site(directory)
        if not isinstance(site.config.devices, int):
            choose_training_device(site.config.devices[0])
        stack.callback(close_devices)
        log.info("site %s: loading the model and the records", site.name)
        # Now, so that what is wrong with them is told at the start and not in the midst of a round.
        site.prepare()
        _tell_privacy(directory, metrics)
        health.report(SITE, True, "model and records are loaded")
        log.info("site %s is ready, with recipe %s (%s)", site.name, site.recipe.name, site.recipe.hash[:12])

        def after(stage: str) -> None:
            if stage in ("train", "evaluate"):
                _tell_privacy(directory, metrics)
            elif stage in ("open", "deliver"):
                _report_run(directory, stage)

        installed = InstalledApp(app, directory, metrics)
        sites = site.recipe.sites
        loop = FleetLoop(
            connection,
            installed,
            session=SessionRecord(directory, server),
            link=Link(server, health),
            metrics=metrics,
            stop=stop,
            on_answer=after,
            on_sending=lambda reply: _note_sent(directory, installed, reply),
            longest_pause=sites.training_timeout + sites.stage_timeout,
        )
        with obeyed(directory, loop):
            loop.run()
        if departure(directory) is not None:
            log.info("site %s has left, as its operator asked: %s", site.name, HOW_TO_RETURN)


def _wait_until_wanted(directory: Path, health: Health, stop: StopFlag) -> None:
    """Waits, before anything is loaded, for as long as the site's operator has it stay away."""
    from sealora_client.fleet.link import PART

    wish = departure(directory)
    if wish is None:
        return
    since = f" on {wish.asked}" if wish.asked else ""
    said = f"{SAID_AWAY}{since}: {HOW_TO_RETURN}"
    log.warning("%s", said)
    health.report(PART, False, said)
    wait_until_wanted(directory, stop)
    if not stop.is_set:
        log.info("the site is to take part again")
        health.report(PART, False, "starting")


def _note_sent(directory: Path, installed: InstalledApp, reply: Reply) -> None:
    """Writes down what is about to leave."""
    from sealora_client.operator.sent_log import SentLog, SentMessage
    from sealora_client.round.course import place_of

    metadata = reply.envelope.metadata
    stage, context = metadata.message_type.removeprefix("query."), installed.remembered(metadata.run_id)
    run, round_number = (None, None) if context is None else place_of(context, stage)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    SentLog(directory).note(
        SentMessage(at=now, kind=stage, run=run, round=round_number, bytes=reply.size, refused=reply.is_refusal)
    )


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
        if not mechanism_of(site.recipe).protects:
            return
        with site.ledger() as ledger:
            spent = ledger.spent(site.data.train_set, site.recipe.privacy.delta)
    except SealoraError as error:
        log.warning("%s", error)
    else:
        metrics.privacy(spent, site.policy.epsilon_limit)


def _report_run(directory: Path, stage: str) -> None:
    """Writes this site's report of a run that is over: after its last evaluation, and once its adapter is here.

    Not after each round: what it cost is worked out anew, and the next order would wait. What is wrong with a report is
    no reason to stop.
    """
    from sealora_client.delivery.kept_run import kept_runs
    from sealora_client.run_report.page import write_run_report

    try:
        if stage == "deliver":
            ended = [kept.run for kept in kept_runs(directory)]
        else:
            last = SiteRoundsTail(directory / HISTORY).read()[-1:]
            ended = [line.run for line in last if line.kind == "evaluate" and line.run is not None]
        for run in ended[-1:]:
            write_run_report(directory, run)
    except SealoraError as error:
        log.warning("the report of the run could not be written: %s", error)
    except Exception:
        log.exception("the report of the run could not be written")
