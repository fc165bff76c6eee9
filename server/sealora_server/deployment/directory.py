"""What lies where in a server's directory.

server.yaml        see `config`
identity.pem       the key that signs the orders and receipts of every run
identity.pub       its public half, for the coordinator, who puts it on the roster
tls/               certificate authority, the server's certificate and keys
nodes.json         the sites' Flower node keys that may connect
runs/NAME/         one run: recipe, roster, rounds, events (see `run.store`), its ServerApp's log, what is wanted of it
state/             Flower's own: the SuperLink's database; worth nothing once the server has stopped
sockets/           the Unix sockets, and the lock that keeps a second server out
logs/server.log    what the server and its processes said, rotated
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sealora_common.config import NAME_PATTERN
from sealora_server.deployment.config import ServerConfig
from sealora_server.deployment.errors import DeploymentError

PRINTED = "serverapp.log"
"""In a run's directory: what its process printed."""
# sockaddr_un holds 108 bytes with the closing zero (unix(7)).
_LONGEST_SOCKET_PATH = 107


@dataclass(frozen=True)
class ServerDirectory:
    """A server's directory, by the path of its `server.yaml`."""

    config_file: Path

    @cached_property
    def path(self) -> Path:
        """The directory, absolute."""
        return self.config_file.absolute().parent

    @cached_property
    def config(self) -> ServerConfig:
        """The configuration, read once."""
        return ServerConfig.load(self.config_file)

    @property
    def identity(self) -> Path:
        return self.path / "identity.pem"

    @property
    def public_key(self) -> Path:
        return self.path / "identity.pub"

    @property
    def nodes(self) -> Path:
        return self.path / "nodes.json"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def sockets(self) -> Path:
        return self.path / "sockets"

    @property
    def log(self) -> Path:
        return self.path / "logs" / "server.log"

    @property
    def operator_socket(self) -> Path:
        return self.sockets / "operator.sock"

    @property
    def superlink_socket(self) -> Path:
        """Everything the SuperLink offers: for this account alone."""
        return self.sockets / "superlink.sock"

    @property
    def fleet_socket(self) -> Path:
        """What sites need of the SuperLink: for the front."""
        return self.sockets / "fleet.sock"

    @property
    def certificate(self) -> Path:
        return self.path / self.config.tls.certificate

    @property
    def key(self) -> Path:
        return self.path / self.config.tls.key

    @property
    def ca(self) -> Path | None:
        return None if self.config.tls.ca is None else self.path / self.config.tls.ca

    def check_path(self) -> None:
        """Refuses a directory whose sockets could not be addressed.

        Raises:
            DeploymentError: its path is too long.
        """
        longest = len(str(self.superlink_socket).encode())
        if longest > _LONGEST_SOCKET_PATH:
            raise DeploymentError(
                f"{self.path}: this path is {longest - _LONGEST_SOCKET_PATH} bytes too long for Unix sockets in it: "
                "choose a shorter one"
            )


def run_name(name: str) -> str:
    """The name, if it is one that a run's directory can have.

    Raises:
        DeploymentError: it is none.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise DeploymentError(
            f"{name!r} is no name for a run: take up to 63 lower-case letters, digits and dashes, no dash first"
        )
    return name
