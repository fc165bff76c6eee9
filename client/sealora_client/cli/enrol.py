"""`sealora-site init`: a site's keys and card."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from sealora_client.site.config import SiteConfig
from sealora_client.site.initial_files import begin_policy_file, begin_site_file
from sealora_common.config import checked
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.identity import PASSPHRASE_FILE, Identity, read_passphrase, short_form
from sealora_common.identity.card import SiteCard, check_name, create_node_key
from sealora_common.show.say import say
from sealora_common.storage.durable import write_atomically
from sealora_common.storage.own_files import PUBLIC_FILE, make_directory

IDENTITY = "identity.pem"
NODE_KEY = "node.key"


def init(
    name: Annotated[str, typer.Argument(help="The site's name: lower-case letters, digits and dashes.")],
    directory: Annotated[Path, typer.Option("--directory", help="The site's directory.")] = Path(),
    data: Annotated[Path, typer.Option(help="The site's records (JSON Lines), seen from its directory.")] = Path(
        "records.jsonl"
    ),
    server: Annotated[str | None, typer.Option(help="The server's front, https://host:port, if it is known.")] = None,
    coordinator: Annotated[str | None, typer.Option(help="The pin of the coordinator's key, if it is known.")] = None,
    lock: Annotated[bool, typer.Option("--lock", help="Lock the private keys by a passphrase.")] = False,
) -> None:
    """Begin a site: its keys, its card, and its files site.yaml and policy.yaml. The card goes to the coordinator."""
    check_name(name)
    for existing in (directory / IDENTITY, directory / NODE_KEY):
        if existing.exists():
            raise PolicyError(f"{existing} exists: this site has keys already; move them away to make new ones")
    _check_address(name, data, server, coordinator)
    passphrase = new_passphrase() if lock else None
    make_directory(directory)
    card, path = make_keys(name, directory, passphrase)
    site_file = begin_site_file(directory, name, data, coordinator, server)
    policy_file = begin_policy_file(directory)
    say(f"{directory / IDENTITY}, {directory / NODE_KEY}: this site's private keys; they never leave it")
    say(f"{path}: this site's card; send it to the coordinator and read this out: {card.fingerprint}")
    if coordinator is not None:
        shown = short_form(bytes.fromhex(coordinator))
        say(f"{site_file}: the coordinator's key is {shown}; have the coordinator read it out")
    say(f"{policy_file}: what no server can override; read it and decide")
    say(f"{site_file}: complete it once the coordinator and the server's operator have sent their parts:")
    say(f"  roster.json, recipe.yaml and ca.pem go to {directory}; then `sealora-site check`, `sealora-site run`")


def make_keys(name: str, directory: Path, passphrase: bytes | None) -> tuple[SiteCard, Path]:
    """Makes a site's two keys and its card in `directory`; returns the card and its file.

    Raises:
        StorageError: a file could not be written.
    """
    identity = Identity.create(name, SystemEntropy())
    identity.save(directory / IDENTITY, passphrase)
    card = SiteCard.create(identity, create_node_key(directory / NODE_KEY, passphrase))
    path = directory / f"{name}.card.json"
    write_atomically(path, card.model_dump_json(indent=2).encode() + b"\n", mode=PUBLIC_FILE)
    return card, path


def new_passphrase() -> bytes:
    """A passphrase for new keys: from the file that the environment names, else typed twice.

    Raises:
        PolicyError: the file is empty.
        StorageError: the file cannot be read.
    """
    if PASSPHRASE_FILE not in os.environ:
        return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True)).encode()
    passphrase = read_passphrase(Path(IDENTITY))
    if not passphrase:
        raise PolicyError(f"{os.environ[PASSPHRASE_FILE]}: is empty: write the passphrase into it")
    return passphrase


def _check_address(name: str, data: Path, server: str | None, coordinator: str | None) -> None:
    """Refuses what site.yaml would not take, before anything is written."""
    try:
        values = {"name": name, "data": data, "coordinator": coordinator or "0" * 64, "server": server}
        checked(SiteConfig, values, before="--", whole="site")
    except UnreadableError as error:
        raise PolicyError(str(error)) from None
