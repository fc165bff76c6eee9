"""`site.yaml`: a site's name, where its data is, whose roster it accepts, and how it reaches the server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sealora_common.config import load_yaml
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.health.logs import LogFormat
from sealora_common.network.address import server_url

Devices = int | tuple[str, ...]
"""How many, or which: `cpu`, `cuda` (the first GPU), `cuda:0`, ..."""
_DEVICE = re.compile(r"cpu|cuda(:(0|[1-9][0-9]?))?")
_MOST_DEVICES = 64


class SiteConfig(BaseModel):
    """`site.yaml`. Relative paths are looked up from its directory."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str
    """The site's name, as it stands on the roster."""
    data: Path
    """The site's records: a file, a saved data set's directory, or a description (`*.yaml`), see docs/data.md."""
    coordinator: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """The pin (SHA-256, hex, of the public key) of the consortium's coordinator, who signs the roster."""
    server: str | None = None
    """Where the server's front is, `https://host:port`. Plain http is taken for this machine only."""
    ca: Path | None = None
    """PEM file of the authority that signs the server's certificate; no other is trusted. Without it, the system's."""
    node_key: Path = Path("node.key")
    """The P-384 key with which this site's node signs its requests."""
    health: str | None = "127.0.0.1:9181"
    """`host:port` of /healthz, /readyz and /metrics; null for none."""
    grpc_health: str | None = None
    """`host:port` of the gRPC health service; null for none."""
    log_format: LogFormat = "text"
    """`text` for people, `json` for log collectors."""
    devices: Devices = 1
    """What the site computes on: how many GPUs, or, on a machine without one, how many processes share its CPU out; or
    their names, `[cuda:0, cuda:1]`. The site's own process is on the first, a worker on each other one."""

    @field_validator("server")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        return None if value is None else server_url(value)

    @field_validator("devices", mode="before")
    @classmethod
    def _are_devices(cls, value: object) -> object:
        if isinstance(value, list | tuple):
            named = [name for name in value if isinstance(name, str) and _DEVICE.fullmatch(name)]
            if len({name == "cpu" for name in named}) > 1:
                raise ValueError("a CPU and a GPU round otherwise: name devices of one kind")
            is_sound = len(named) == len(value) and 1 <= len(value) <= _MOST_DEVICES
        else:
            is_sound = isinstance(value, int) and value is not True and 1 <= value <= _MOST_DEVICES
        if not is_sound:
            raise ValueError(f"say how many, 1 to {_MOST_DEVICES}, or which: [cuda:0, cuda:1], or [cpu, cpu]")
        return value

    @classmethod
    def load(cls, path: Path) -> SiteConfig:
        """Reads `site.yaml`.

        Raises:
            PolicyError: it is missing or malformed.
        """
        try:
            return load_yaml(cls, path, "site")
        except FileNotFoundError:
            raise PolicyError(f"{path}: no such file: is this a site's directory?") from None
        except UnreadableError as error:
            raise PolicyError(str(error)) from None
