"""`sealora-site run`: the site's one process, from start to the last goodbye."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from sealora_client.fleet.stop import stop_on_signals
from sealora_client.site.config import SiteConfig
from sealora_common.errors import PolicyError, SealoraError

log = logging.getLogger(__name__)


def run(
    config: Annotated[Path, typer.Option("--config", help="site.yaml; its directory is the site's.")] = Path(
        "site.yaml"
    ),
    grace: Annotated[
        float, typer.Option("--grace", min=0, help="Seconds that the message in hand has on SIGTERM, SIGINT or SIGHUP.")
    ] = 8.0,
) -> None:
    """Run this site: connect to the server and take part in its rounds, until SIGTERM, SIGINT or SIGHUP.

    It reconnects by itself, whatever happens to the server, the network or this machine.
    """
    from sealora_client.site_process import run_site
    from sealora_common.health.logs import set_up_logs

    directory = config.absolute().parent
    settings = SiteConfig.load(config)
    if config.name != "site.yaml":
        raise PolicyError(f"{config}: a site's configuration is the file site.yaml in its own directory: rename it")
    if settings.server is None:
        raise PolicyError(f"{config}: server: is missing: add the address of the server's front, https://host:port")
    set_up_logs(settings.log_format)
    try:
        with stop_on_signals(grace) as stop:
            run_site(directory, settings, settings.server, stop)
    except SealoraError as error:
        log.error("%s", error)
        raise typer.Exit(1) from None
    except Exception:  # no traceback for a person: the log says where, without what was being worked on
        log.exception("the site failed and must be started again")
        raise typer.Exit(1) from None
