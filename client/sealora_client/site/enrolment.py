"""How a site begins: its keys, its card, and its files for a person to complete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sealora_client.site.careful_policy import careful_policy, count_rows, why_delta
from sealora_client.site.config import SiteConfig
from sealora_client.site.initial_files import begin_policy_file, begin_site_file
from sealora_client.site.policy import SitePolicy
from sealora_common.config import checked
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.identity import Identity
from sealora_common.identity.card import SiteCard, check_name, create_node_key
from sealora_common.storage.durable import write_atomically
from sealora_common.storage.own_files import PUBLIC_FILE, make_directory

IDENTITY = "identity.pem"
"""A site's signing key, in its directory."""
NODE_KEY = "node.key"
"""The key of a site's node, in its directory, unless site.yaml names another place."""

Passphrase = Callable[[], bytes | None]
"""Asked for when all else is known to be in order; None leaves the keys open."""


@dataclass(frozen=True)
class Enrolled:
    """What a site begins with.

    Attributes:
        card: goes to the coordinator.
        card_file: where it lies.
        site_file: site.yaml.
        policy_file: policy.yaml.
    """

    card: SiteCard
    card_file: Path
    site_file: Path
    policy_file: Path


def enrol(
    directory: Path,
    name: str,
    data: Path,
    *,
    server: str | None,
    coordinator: str | None,
    passphrase: Passphrase,
    pins_ca: bool = True,
    policy: tuple[SitePolicy, str] | None = None,
) -> Enrolled:
    """Begins the site `name` in `directory`. Files that are there already stay as they are.

    Args:
        directory: the site's, made if it is missing.
        name: of the site.
        data: its records' file, seen from its directory.
        server: the address of the server's front, if it is known.
        coordinator: the pin of the coordinator's key, if it is known.
        passphrase: locks the private keys.
        pins_ca: whether the server's certificate is signed by an authority of its own.
        policy: what policy.yaml says if there is none yet, and why its delta is that; None: what is careful for the
            number of records that are there.

    Raises:
        PolicyError: there are keys already, or site.yaml would not take one of the values; nothing was written.
        StorageError: a file could not be written.
    """
    check_name(name)
    for existing in (directory / IDENTITY, directory / NODE_KEY):
        if existing.exists():
            raise PolicyError(f"{existing} exists: this site has keys already; move them away to make new ones")
    _check_values(name, data, server, coordinator)
    locked_by = passphrase()
    make_directory(directory)
    card, card_file = make_keys(name, directory, locked_by)
    site_file = begin_site_file(directory, name, data, coordinator, server, pins_ca=pins_ca)
    if policy is None:
        records = count_rows(directory / data)
        policy = careful_policy(records), why_delta(records)
    policy_file = begin_policy_file(directory, *policy)
    return Enrolled(card, card_file, site_file, policy_file)


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


def _check_values(name: str, data: Path, server: str | None, coordinator: str | None) -> None:
    """Refuses what site.yaml would not take, as an option of the command, before anything is written."""
    values = {"name": name, "data": data, "coordinator": coordinator or "0" * 64, "server": server}
    try:
        checked(SiteConfig, values, before="--", whole="site")
    except UnreadableError as error:
        raise PolicyError(str(error)) from None
