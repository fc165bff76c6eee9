"""Which proxy leads to a server: what `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, read here and nowhere else.

HTTP libraries read these variables by themselves, each in its own way, those that do not concern the address that is
asked for among them, and end in an error of their own where one holds what they do not know. Here the variable of the
address alone is read, and what is wrong with it is one sentence that names it. The forms are curl's: `host:port` is an
HTTP proxy's, lower case goes before upper case, and `NO_PROXY` holds names, with all that ends in them, addresses and
networks (RFC 4632).
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx

from sealora_common.errors import SealoraError
from sealora_common.network.address import host_and_maybe_port, is_loopback, place_of
from sealora_common.show.safe_text import safe_text

_HOST = re.compile(r"\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253}")
_USER = ":%!$&'()*+,;=~"
"""What a user name and a password may hold as it is (RFC 3986), and what of them is escaped already."""
_OTHER_KINDS = frozenset({"socks", "socks4", "socks4a", "socks5", "socks5h", "ftp"})
_KINDS = _OTHER_KINDS | {"http", "https"}
_SHOWN = 100
_LONGEST = 4096


class ProxyError(SealoraError):
    """A variable of the environment names a proxy that cannot be used."""


@dataclass(frozen=True)
class Proxy:
    """A proxy.

    Attributes:
        url: with any password; it is never shown.
        shown: without.
        variable: that named it.
    """

    url: str = field(repr=False)
    shown: str
    variable: str

    def __str__(self) -> str:
        """`the proxy http://proxy:3128 (HTTPS_PROXY)`."""
        return f"the proxy {self.shown} ({self.variable})"


def proxy_for(address: str, environment: Mapping[str, str] | None = None) -> Proxy | None:
    """The proxy through which `address` is reached; None if it is reached directly.

    Args:
        address: a URL with a host, as `network.address.server_url` has it.
        environment: in place of the process's own.

    Raises:
        ProxyError: the variable that counts holds what is no HTTP proxy.
    """
    given = os.environ if environment is None else environment
    scheme, host, port = place_of(address)
    if scheme != "https" or is_loopback(host):  # plain HTTP is for this machine, a proxy for the world outside
        return None
    found = _named(given, "https_proxy") or _named(given, "all_proxy")
    if found is None:
        return None
    excepted = _named(given, "no_proxy")
    if excepted is not None and any(_is_meant(entry, host, port) for entry in _entries(excepted[1])):
        return None
    return _proxy(*found)


def without_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that speaks to nobody outside this machine."""
    return {name: value for name, value in environment.items() if not name.lower().endswith("_proxy")}


def _named(environment: Mapping[str, str], name: str) -> tuple[str, str] | None:
    """The variable and its value, if it has one: lower case first, and an empty one hides the other."""
    for variable in (name, name.upper()):
        if variable in environment:
            value = environment[variable].strip()
            return (variable, value) if value else None
    return None


def _proxy(variable: str, value: str) -> Proxy:
    scheme, mark, rest = value.partition("://")
    scheme, rest = (scheme.lower(), rest) if mark else ("http", value)
    user, at, place = rest.rpartition("@")
    place = place.removesuffix("/")
    shown = f"{scheme}://{_shown(place)}" if mark and scheme in _KINDS else _shown(place)
    if scheme in _OTHER_KINDS:
        raise _wrong(variable, shown, f"sites speak no {scheme} to a proxy")
    host, port = host_and_maybe_port(place)
    if scheme not in _KINDS or not _HOST.fullmatch(host) or port is None or len(value) > _LONGEST:
        raise _wrong(variable, shown, "this is no address")
    url = f"{scheme}://{quote(user, safe=_USER)}{at}{host}{port}"
    try:
        httpx.Proxy(url)
    except (httpx.InvalidURL, ValueError):  # a name that looks like an international one and is none, say
        raise _wrong(variable, shown, "this is no address") from None
    return Proxy(url, shown, variable)


def _shown(place: str) -> str:
    """Of a proxy's place what can be no password: a host, and a port that is one."""
    host, port = host_and_maybe_port(place)
    if _HOST.fullmatch(host) and port is not None:
        return host + port
    found = re.match(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*", place)
    return f"{safe_text(found.group() if found else '', _SHOWN)}..."


def _wrong(variable: str, shown: str, why: str) -> ProxyError:
    return ProxyError(
        f"{variable} is {shown!r}, and {why}: write http://host:port of a proxy that takes CONNECT, name this server "
        f"in NO_PROXY, or unset {variable} for this program"
    )


def _entries(text: str) -> Iterator[str]:
    return (entry.strip().lower() for entry in re.split(r"[,\s]+", text[: 16 * _LONGEST]) if entry.strip())


def _is_meant(entry: str, host: str, port: int) -> bool:
    """Whether an entry of `NO_PROXY` means this host; what has no meaning means none."""
    if entry == "*":
        return True
    entry = entry.partition("://")[2] or entry
    try:
        network = ipaddress.ip_network(entry.removeprefix("[").removesuffix("]"), strict=False)
    except ValueError:
        pass
    else:
        return _is_in(network, host)
    name, named_port = host_and_maybe_port(entry)
    if named_port is None or (named_port and named_port != f":{port}"):
        return False
    name = name.removeprefix("[").removesuffix("]")
    try:
        return _is_in(ipaddress.ip_network(name), host)
    except ValueError:
        name = name.removeprefix("*").strip(".")
        return bool(name) and (host.rstrip(".") == name or host.rstrip(".").endswith(f".{name}"))


def _is_in(network: ipaddress.IPv4Network | ipaddress.IPv6Network, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False
