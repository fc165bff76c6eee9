"""Where a dashboard is served and who may see it, as a command or a server's configuration says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sealora_common.errors import PolicyError
from sealora_common.web.serve import Certificate, WebAddress
from sealora_server.deployment.directory import ServerDirectory

Tls = Literal["none", "server", "proxy"]


@dataclass(frozen=True)
class DashboardSettings:
    """How a dashboard is served.

    Attributes:
        address: where.
        names: others by which it may be asked, beside this machine's addresses and `localhost`.
        token_file: holds what whoever logs in must know; made if it is not there.
    """

    address: WebAddress
    names: Sequence[str]
    token_file: Path

    @classmethod
    def of(
        cls, listen: str, names: Sequence[str], token_file: Path, tls: Tls, server: ServerDirectory | None
    ) -> DashboardSettings:
        """From what a person writes.

        Args:
            listen: `host:port`.
            names: see above.
            token_file: see above.
            tls: `server`: with the server's certificate; `proxy`: a proxy in front of it does TLS.
            server: whose certificate it would be.

        Raises:
            PolicyError: `listen` is no address, or there is no server to have a certificate of.
        """
        certificate = None
        if tls == "server":
            if server is None:
                raise PolicyError("there is no server whose certificate it could have: name the server's directory")
            certificate = Certificate(server.certificate, server.key)
        return cls(WebAddress.at(listen, certificate, is_behind_proxy=tls == "proxy"), names, token_file)


class DashboardProcessSettings(BaseModel):
    """What a server's supervisor tells its dashboard's process on its standard input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    supervisor: int
    """Process id."""
    config_file: Path
    """The server's `server.yaml`."""
    listener: int
    """Descriptor of the listening TCP socket."""
    secret: str = Field(repr=False)
    """By which the server knows that it is its dashboard that speaks for somebody."""
