"""`server.yaml`: where the server listens, under which names, with which certificate, and what it puts up with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sealora_common.config import load_yaml
from sealora_common.errors import UnreadableError
from sealora_common.health.logs import LogFormat
from sealora_common.network.address import certified_host, host_and_port, is_loopback
from sealora_server.dashboard.login.settings import OpenIdSection, ProxySection
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.person import ACCOUNT
from sealora_server.upkeep.retention import AdapterRetention

FrontKind = Literal["embedded", "nginx", "none"]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class SettingsSection(BaseModel):
    """Base of all sections: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _address(value: str) -> str:
    try:
        host_and_port(value)
    except ValueError:
        raise ValueError(f"{value!r} is no address and port, such as 0.0.0.0:9443") from None
    return value


class TlsSection(SettingsSection):
    """The certificate that sites are shown. Paths are relative to the server's directory."""

    certificate: Path = Path("tls/server.pem")
    """The server's certificate and any intermediate ones (PEM)."""
    key: Path = Path("tls/server-key.pem")
    """Its private key (PEM), without a passphrase."""
    ca: Path | None = Path("tls/ca.pem")
    """What sites pin; null where they trust a public authority."""
    warn_days: int = Field(default=30, ge=1, le=3650)
    """So many days before a certificate expires, the log, `status` and the metrics begin to say so."""


class LimitsSection(SettingsSection):
    """What clients are allowed. Both fronts hold to the same; to what is counted by node, the SuperLink does."""

    body_bytes: int = Field(default=32 * 2**20, ge=2**20, le=2**31)
    """Largest request body. Flower sends arrays in pieces; a configuration record travels whole."""
    header_bytes: int = Field(default=16 * 2**10, ge=2**10, le=2**20)
    """Largest request line and headers together."""
    requests_per_second: int = Field(default=200, ge=1, le=100_000)
    """Sustained, for each address. Sites behind one address share it."""
    request_burst: int = Field(default=1000, ge=1, le=1_000_000)
    """So many requests may come at once before the rate counts."""
    connections: int = Field(default=1024, ge=8, le=100_000)
    """Open connections of all addresses together. The embedded front keeps half of them for registered nodes."""
    connections_per_address: int = Field(default=128, ge=1, le=100_000)
    """So many may be opened at once, too."""
    connections_per_second: int = Field(default=20, ge=1, le=100_000)
    """New connections, sustained, for each address (embedded front only)."""
    header_seconds: Seconds = 10.0
    """For the TLS handshake, and for the whole head of a request."""
    body_seconds: Seconds = 30.0
    """Longest silence within a request body, and while a response is taken. A body of 64 KiB must be whole by then, a
    larger one takes a second longer for each 32 KiB."""
    idle_seconds: Seconds = 65.0
    """How long a connection may wait for its next request."""
    answer_seconds: Seconds = 120.0
    """Longest wait for the SuperLink's answer."""
    node_requests_per_second: int = Field(default=100, ge=1, le=100_000)
    """Sustained, for each registered node, whatever address it comes from."""
    node_request_burst: int = Field(default=1000, ge=1, le=1_000_000)
    """So many requests of a node may come at once before the rate counts."""
    answer_bytes: int = Field(default=2**29, ge=2**20, le=2**35)
    """Largest answer of a site in one stage, all its parts together, and a KiB for the name of each."""
    superlink_bytes: int = Field(default=2**31, ge=2**22, le=2**38)
    """What sites' answers may take up in the SuperLink. Half of it is shared out to the registered nodes, the other
    half is for whoever comes first."""


class HealthSection(SettingsSection):
    """Probes and metrics for the operator's own monitoring: no site needs them."""

    http: str | None = "127.0.0.1:9180"
    """`/healthz`, `/readyz` and `/metrics`; null: not served."""
    grpc: str | None = None
    """gRPC health service."""


class ApprovalSection(SettingsSection):
    """Whether one person's recipe waits for another's approval before it runs."""

    required: bool = False
    """Whether a run begins only once another person than who asked for it has approved its recipe and its roster."""
    approvers: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Who may approve: persons who log in as operators, by their names, and `account:NAME` for an account of this
    machine that reaches the operator's socket; null: every operator who logs in, and no account."""


class DashboardSection(SettingsSection):
    """Pages for the operator's browser, see docs/dashboard.md. Without this section they are not served."""

    listen: str = "127.0.0.1:9190"
    """Address and port of the pages. Beyond this machine only with `tls`."""
    tls: Literal["none", "server", "proxy"] = "none"
    """`server`: with the server's own certificate; `proxy`: a proxy in front of it, which is yours, does TLS."""
    names: tuple[str, ...] = ()
    """Names by which browsers ask for them, beside addresses and `localhost`."""
    token: Path = Path("dashboard.token")
    """File with what logs a reader in, relative to the server's directory; made if it is not there."""
    people: Path = Path("people")
    """Directory of those with a token of their own: `operators/NAME.token` and `readers/NAME.token`."""
    proxy: ProxySection | None = None
    """A reverse proxy that says who asks; null: none is believed."""
    openid: OpenIdSection | None = None
    """An institution's own login service; null: none."""

    _is_an_address = field_validator("listen")(_address)

    @model_validator(mode="after")
    def _is_not_open(self) -> Self:
        if self.tls == "none" and not is_loopback(host_and_port(self.listen)[0]):
            raise ValueError(
                f"other machines would log in at {self.listen} without encryption: listen on 127.0.0.1, or set tls to "
                "server or proxy"
            )
        return self


class ServerConfig(SettingsSection):
    """`server.yaml`."""

    listen: str = "0.0.0.0:9443"
    """Address and port that sites connect to; `[::]:9443` for IPv6. Port 0 takes a free one (embedded front only)."""
    hosts: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names and addresses under which sites reach this server."""
    front: FrontKind = "embedded"
    """`embedded`: for tens of sites. `nginx`: started and watched here. `none`: your own, see deploy/nginx.conf."""
    superlink_state: Literal["memory", "sqlite"] = "memory"
    """Where Flower keeps what is in transit: finished rounds are in the run's own directory in any case. `memory`: a
    SuperLink that dies makes the round under way begin anew, at once. `sqlite`: it may go on in the middle of the
    round, and stock SuperNodes outlive it, at twice the cost a message."""
    tls: TlsSection = TlsSection()
    limits: LimitsSection = LimitsSection()
    health: HealthSection = HealthSection()
    dashboard: DashboardSection | None = None
    """Pages for the operator's browser; null: not served."""
    adapters: AdapterRetention = AdapterRetention()
    approval: ApprovalSection = ApprovalSection()
    log: LogFormat = "text"
    """`json`: one object a line."""

    @field_validator("hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(certified_host, value))

    _is_an_address = field_validator("listen")(_address)

    @model_validator(mode="after")
    def _somebody_can_approve(self) -> Self:
        accounts = any(who.startswith(ACCOUNT) for who in self.approval.approvers or ())
        if self.approval.required and self.dashboard is None and not accounts:
            raise ValueError(
                "nobody could approve a run, as approval.required demands: add the section dashboard, or name an "
                "account:NAME in approval.approvers"
            )
        return self

    @classmethod
    def load(cls, path: Path) -> ServerConfig:
        """Reads `server.yaml`.

        Raises:
            DeploymentError: it is missing or malformed.
        """
        try:
            return load_yaml(cls, path, "server")
        except FileNotFoundError:
            raise DeploymentError(
                f"{path}: no such file: name the server's with --config, or make one with `sealora server init`"
            ) from None
        except UnreadableError as error:
            raise DeploymentError(str(error)) from None
