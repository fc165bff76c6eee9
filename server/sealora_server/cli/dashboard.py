"""`sealora dashboard`: a server, or finished runs, on pages in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_common.show.say import say
from sealora_server.dashboard.settings import DashboardSettings, Tls

_TOKEN = "dashboard.token"  # noqa: S105 (a file's name)


def dashboard(
    places: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR|RUN]...",
            help="A server's directory, runs, or directories of runs. [default: this directory, or runs/ in it]",
        ),
    ] = None,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Port 0 takes a free one.")] = "127.0.0.1:8080",
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Holds what logs in; made if it is not there. [default: dashboard.token in the first DIR]",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Another name by which browsers ask for it; once more for each."),
    ] = None,
    tls: Annotated[
        Tls, typer.Option(help="With the server's certificate, or by a proxy that you run in front of it.")
    ] = "none",
) -> None:
    """Show a server and its runs, or runs alone, on pages in a browser: live while they go, and afterwards.

    Whoever logs in needs the token in its file, on this machine too. Nothing is asked of any other host.
    """
    from sealora_server.dashboard.serving import serve_dashboard
    from sealora_server.dashboard.watched import CONFIG, Watched

    here = Path()
    named = places or [here if (here / CONFIG).exists() else here / "runs"]
    watched = Watched([place.absolute() for place in named])
    server = watched.server.server if watched.server is not None else None
    file = token_file or _beside(named[0].absolute()) / _TOKEN
    settings = DashboardSettings.of(listen, name or [], file, tls, server)
    with settings.address.taken() as taken:

        def tell(url: str) -> None:
            say(f"dashboard at {url}, until Ctrl-C; what logs in is in {file}")

        try:
            serve_dashboard(watched, settings, taken, tell)
        except KeyboardInterrupt:
            return


def _beside(place: Path) -> Path:
    """Where the token of a dashboard of this place is kept: in a server's directory, else beside the runs."""
    return place if (place / "server.yaml").exists() or not (place / "events.jsonl").exists() else place.parent
