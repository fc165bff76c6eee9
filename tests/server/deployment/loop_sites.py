"""Sites without a model that run Sealora's own Fleet loop, each in a process.

with looping(federation.sites, "https://localhost:9443", ca, directory) as processes:
    ...
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from fleet_sites import FleetSite
from flwr.app import Message

from sealora_client.fleet.connection import FleetConnection
from sealora_client.fleet.installed_app import InstalledApp
from sealora_client.fleet.link import PART, Link
from sealora_client.fleet.loop import FleetLoop
from sealora_client.fleet.session_record import SessionRecord
from sealora_client.fleet.stop import StopFlag
from sealora_client.prometheus import SiteMetrics
from sealora_common.health.status import Health


@contextmanager
def looping(sites: Iterable[FleetSite], address: str, ca: Path, directory: Path) -> Iterator[list[BaseProcess]]:
    """The sites at work, each with a directory of its own in `directory`."""
    context = multiprocessing.get_context("fork")
    processes: list[BaseProcess] = [
        context.Process(target=_serve, args=(site, address, ca, directory), daemon=True) for site in sites
    ]
    for process in processes:
        process.start()
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(timeout=30)


def _serve(site: FleetSite, address: str, ca: Path, directory: Path) -> None:
    own = directory / site.name
    own.mkdir()
    metrics = SiteMetrics(site.name)
    stop = StopFlag()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def app(message: Message, context: Any) -> Message:
        return Message(site.part.answer(message.metadata.message_type, message.content), reply_to=message)

    FleetLoop(
        FleetConnection(address, site.key, ca),
        InstalledApp(app, own, metrics),
        session=SessionRecord(own, address),
        link=Link(address, Health(PART)),
        metrics=metrics,
        stop=stop,
    ).run()
