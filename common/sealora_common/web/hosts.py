"""Whether this machine may be asked by the name that a request gives it (`Host`, RFC 9110, section 7.2).

A page in somebody's browser could have its own name lead to a server that listens on their machine or beside it, and
ask it as if it were its own (DNS rebinding). So a name must be one that was said beforehand. An address instead of a
name cannot be made to lead elsewhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable

from sealora_common.network.address import host_and_maybe_port


def known_names(names: Iterable[str]) -> frozenset[str]:
    """Names by which this machine may be asked, as `is_known_host` compares them; `localhost` is one."""
    return frozenset({"localhost", *(name.lower().rstrip(".") for name in names)})


def is_known_host(hosts: Collection[str], names: frozenset[str]) -> bool:
    """Whether a request's `Host` headers are one, and it is an address or one of `names`.

    Args:
        hosts: the headers' values.
        names: from `known_names`.
    """
    if len(hosts) != 1:
        return False
    name, port = host_and_maybe_port(next(iter(hosts)))
    if port is None:
        return False
    bare = name.removeprefix("[").removesuffix("]").lower().rstrip(".")
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return bare in names
    return True
