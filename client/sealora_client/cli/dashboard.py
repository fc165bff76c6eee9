"""`sealora-site dashboard`: this site's own page."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from sealora_common.show.say import say


def dashboard(
    directory: Annotated[Path, typer.Argument(help="The site's directory.")] = Path(),
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Port 0 takes a free one.")] = "127.0.0.1:9182",
    name: Annotated[
        list[str] | None, typer.Option(help="Another name that this machine is asked by; once more for each.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="Holds what whoever logs in must know; made if missing.", show_default="dashboard.token"),
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file of a certificate's chain, for TLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file of its key.")] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy in front of it does TLS, and it is asked by https.")
    ] = False,
) -> None:
    """Show this site's page until SIGTERM or Ctrl-C: what leaves, what is spent, how it stands, and two acts.

    For people of this site alone: its figures are exact. It asks for a token, and listens on this machine only.
    """
    from sealora_client.dashboard.serve import TOKEN_FILE, ShownSite, show_site
    from sealora_common.errors import PolicyError
    from sealora_common.web.serve import Certificate, WebAddress

    if (certificate is None) != (key is None):
        raise PolicyError("--certificate and --key belong together: name both, or neither")
    proof = None if certificate is None or key is None else Certificate(certificate, key)
    at = directory.absolute()
    token = at / TOKEN_FILE if token_file is None else token_file
    shown = ShownSite(at, WebAddress.at(listen, proof, is_behind_proxy=behind_proxy), tuple(name or ()), token)
    with contextlib.suppress(KeyboardInterrupt):
        show_site(shown, lambda url: say(f"{url}, until Ctrl-C or SIGTERM; the token to log in is in {token}"))
