"""`sealora-site serve`: the adapter that a run ended with, for OpenAI's clients."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from sealora_client.cli.trained.which import RunName, SiteDirectory
from sealora_common.network.address import is_loopback
from sealora_common.show.say import say


def serve(
    run: RunName = None,
    directory: SiteDirectory = Path(),
    host: Annotated[
        str, typer.Option(help="Where it listens; 0.0.0.0 is every address of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    name: Annotated[
        list[str] | None, typer.Option(help="Another name that this machine is asked by; once more for each.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file that holds what whoever asks must know.", show_default="nobody is asked")
    ] = None,
    most_tokens: Annotated[int, typer.Option("--tokens", min=1, help="The most tokens of an answer.")] = 1024,
    grace: Annotated[
        int, typer.Option(min=0, max=3600, help="Seconds that answers in hand have on SIGTERM or Ctrl-C.")
    ] = 8,
) -> None:
    """Serve the model that the federation trained as an OpenAI-compatible server, until SIGTERM or Ctrl-C.

    It answers as `sealora-site chat` does: through the recipe's template and system prompt, and with no network.
    """
    from sealora_client.trained.offline import stay_offline

    stay_offline()
    from sealora_client.trained.serving.server import ServingSettings, serve_adapter, served_name
    from sealora_client.trained.trained_adapter import find_trained

    trained = find_trained(run, directory)
    say(trained.sentence, to=sys.stderr)
    if not is_loopback(host):
        who = "nobody is asked who they are" if token_file is None else "the token and all texts go unencrypted"
        say(f"{host} can be reached from other machines, and {who}: put what checks that before it", to=sys.stderr)
    settings = ServingSettings(host, port, name or (), token_file, most_tokens, grace)
    with contextlib.suppress(KeyboardInterrupt):
        serve_adapter(
            trained, settings, lambda url: say(f"model {served_name(trained)} at {url}, until Ctrl-C or SIGTERM")
        )
