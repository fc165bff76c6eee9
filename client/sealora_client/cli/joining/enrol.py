"""`sealora-site init`: a site's keys and card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_client.cli.joining.passphrase import new_passphrase, no_passphrase
from sealora_client.site.enrolment import IDENTITY, NODE_KEY, enrol
from sealora_common.identity import short_form
from sealora_common.show.say import say


def init(
    name: Annotated[str, typer.Argument(help="The site's name: lower-case letters, digits and dashes.")],
    directory: Annotated[Path, typer.Option("--directory", help="The site's directory.")] = Path(),
    data: Annotated[Path, typer.Option(help="The site's records, seen from its directory; see docs/data.md.")] = Path(
        "records.jsonl"
    ),
    server: Annotated[str | None, typer.Option(help="The server's front, https://host:port, if it is known.")] = None,
    coordinator: Annotated[str | None, typer.Option(help="The pin of the coordinator's key, if it is known.")] = None,
    lock: Annotated[bool, typer.Option("--lock", help="Lock the private keys by a passphrase.")] = False,
) -> None:
    """Begin a site: its keys, its card, and its files site.yaml and policy.yaml. The card goes to the coordinator."""
    lock_by = new_passphrase if lock else no_passphrase
    begun = enrol(directory, name, data, server=server, coordinator=coordinator, passphrase=lock_by)
    say(f"{directory / IDENTITY}, {directory / NODE_KEY}: this site's private keys; they never leave it")
    say(f"{begun.card_file}: this site's card; send it to the coordinator and read this out: {begun.card.fingerprint}")
    if coordinator is not None:
        shown = short_form(bytes.fromhex(coordinator))
        say(f"{begun.site_file}: the coordinator's key is {shown}; have the coordinator read it out")
    say(f"{begun.policy_file}: what no server can override; read it and decide")
    if server is None or coordinator is None:
        say(f"{begun.site_file}: complete it with the server's address and the pin of the coordinator's key")
    say("Then: `sealora-site join` with the invitation that has the signed roster; or, by hand:")
    say(f"  roster.json, recipe.yaml and ca.pem go to {directory}; then `sealora-site check`, `sealora-site run`")
