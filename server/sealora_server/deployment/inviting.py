"""Invitations: what a server's directory, a recipe and the coordinator's file are enough to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from sealora_common.config import SMALL, read_file, why_not
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.identity import Identity, key_from_text, read_public_key
from sealora_common.identity.card import check_name
from sealora_common.invitation import INVITATION_FILE, Invitation
from sealora_common.network.address import host_and_port, server_url
from sealora_common.recipe import Recipe
from sealora_common.roster import Roster
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.errors import DeploymentError


@dataclass(frozen=True)
class Invited:
    """An invitation that was written.

    Attributes:
        invitation: what is in it.
        file: where it lies.
    """

    invitation: Invitation
    file: Path

    @property
    def begins(self) -> bool:
        """Whether it asks a site for its card: the roster does not have it yet."""
        return self.invitation.roster is None


@dataclass(frozen=True)
class Coordination:
    """What is known of the coordinator.

    Attributes:
        key: its 1984-byte public key.
        roster: its roster, if it is signed.
    """

    key: bytes
    roster: Roster | None = None

    @classmethod
    def of_roster(cls, path: Path) -> Coordination:
        """From a roster, signed or just begun.

        Raises:
            PolicyError: it cannot be read, or was changed after it was signed.
        """
        return cls.of(Roster.load(path, draft=True), str(path))

    @classmethod
    def of(cls, roster: Roster, where: str) -> Coordination:
        """From a roster, signed or just begun; `where` names it in errors.

        Raises:
            PolicyError: it was changed after it was signed.
        """
        if roster.signature and not roster.is_signed:
            raise PolicyError(f"{where}: the coordinator's signature does not hold: ask the coordinator for it again")
        return cls(key_from_text(roster.coordinator), roster if roster.signature else None)

    @classmethod
    def of_key(cls, path: Path) -> Coordination:
        """From the file of the coordinator's public key.

        Raises:
            StorageError: it cannot be read, or holds none.
        """
        return cls(read_public_key(path))


def invite(
    server: ServerDirectory,
    names: Sequence[str],
    recipe: Recipe,
    coordination: Coordination,
    *,
    url: str | None = None,
    directory: Path = Path(),
) -> list[Invited]:
    """Writes what `invitations` makes to files in `directory`, and raises what it raises.

    Raises:
        StorageError: a file could not be written.
    """
    made = invitations(server, names, recipe, coordination, url=url)
    written = [Invited(each, directory / INVITATION_FILE.format(site=each.site)) for each in made]
    for each in written:
        each.invitation.save(each.file)
    return written


def invitations(
    server: ServerDirectory,
    names: Sequence[str],
    recipe: Recipe,
    coordination: Coordination,
    *,
    url: str | None = None,
) -> list[Invitation]:
    """An invitation for each of `names`, which holds the roster if that has the site.

    Args:
        server: this server's.
        names: the sites'; none: all that are on the signed roster.
        recipe: what is to be trained.
        coordination: whose federation it is.
        url: where sites reach the server; None: the first of its hosts, at the port on which it listens.

    Raises:
        DeploymentError: the server's directory does not say all, or the roster names another server.
        PolicyError: a name is none.
        StorageError: the identity cannot be read.
    """
    roster = coordination.roster
    if not names and roster is None:
        raise DeploymentError("whom to invite: name the sites, as there is no signed roster that has them")
    for name in names:
        check_name(name)
    front, authority = url_of(server, url), _authority(server)
    signer = Identity.load("server", server.identity)
    if roster is not None and roster.server_key != signer.public_key:
        raise DeploymentError(
            f"the roster names another server's key than {server.public_key}: send the coordinator that file, and have "
            "the roster made for it"
        )
    text = recipe_text(recipe)
    return [
        Invitation.create(
            name,
            server=front,
            ca=authority,
            coordinator=coordination.key,
            recipe=text,
            recipe_hash=recipe.hash,
            roster=roster if roster is not None and name in roster.names else None,
            signer=signer,
        )
        for name in names or (roster.names if roster is not None else ())
    ]


def recipe_text(recipe: Recipe) -> str:
    """The recipe as sites are sent it: what was written, without what is for a simulation alone."""
    values = recipe.model_dump(mode="json", exclude_unset=True, exclude={"sites": {"simulated"}})
    return f"# Its hash, by which the parties know it: {recipe.hash}\n" + yaml.safe_dump(
        {name: value for name, value in values.items() if value != {}}, sort_keys=False, allow_unicode=True
    )


def url_of(server: ServerDirectory, url: str | None = None) -> str:
    """Where sites reach the server.

    Raises:
        DeploymentError: it cannot be told from server.yaml, or `url` is none.
    """
    if url is None:
        _, port = host_and_port(server.config.listen)
        host = next((host for host in server.config.hosts if not host.startswith("*.")), None)
        if port == 0 or host is None:
            raise DeploymentError(
                f"{server.config_file}: does not say under which name and port sites reach the server: give it with "
                "--url https://host:port"
            )
        url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    try:
        return server_url(url)
    except ValueError as error:
        raise DeploymentError(f"--url: {error}") from None


def _authority(server: ServerDirectory) -> str | None:
    if server.ca is None:
        return None
    try:
        return read_file(server.ca, SMALL.longest).decode("ascii")
    except (OSError, UnreadableError) as error:
        raise DeploymentError(f"{server.ca}: what sites pin cannot be read ({why_not(error)}): correct that") from None
    except UnicodeError:
        raise DeploymentError(f"{server.ca}: not a certificate in PEM form: put one there") from None
