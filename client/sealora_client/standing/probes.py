"""What a site's process tells of itself over its probes, asked by another process on the same machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import httpx

from sealora_common.config import SMALL, from_json
from sealora_common.errors import UnreadableError
from sealora_common.health.status import HealthState, PartStatus
from sealora_common.network.bounded_http import AnswerBounds, BoundedClient

_SECONDS: Final = 3.0
_BOUNDS: Final = AnswerBounds(2 * _SECONDS, 1 << 20)


def told_parts(address: str, site: str) -> Mapping[str, PartStatus]:
    """Part by part, how the process of `site` is; nothing if it does not answer, or another site's does.

    Args:
        address: `host:port` of its probes.
        site: its name: sites of one machine may have been given one address.
    """
    try:
        with BoundedClient(lambda _: _BOUNDS, timeout=_SECONDS) as client:
            if f'site="{site}"' not in client.get(f"http://{address}/metrics").text:
                return {}
            return from_json(HealthState, client.get(f"http://{address}/readyz").content, SMALL).parts
    except (httpx.HTTPError, httpx.InvalidURL, UnreadableError):
        return {}
