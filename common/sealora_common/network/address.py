"""Where something listens or is reached, as people write it: `host:port` with IPv6 in brackets, or a server's URL."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_LARGEST_PORT = 65535
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_NAME = 253
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def host_and_port(text: str) -> tuple[str, int]:
    """The two parts of `host:port` or `[IPv6]:port`; an empty host is none, port 0 is one.

    Raises:
        ValueError: it is no such thing; whoever asks says where it stands and what to write.

    Example:
        >>> host_and_port("[::1]:9180")
        ('::1', 9180)
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > _LARGEST_PORT:
        raise ValueError(f"{text!r} is no host:port")
    return host, int(port)


def host_and_maybe_port(text: str) -> tuple[str, str | None]:
    """Host, its brackets kept, and `:port`, which may be missing and is empty then; None for a port that is none.

    Example:
        >>> host_and_maybe_port("[::1]"), host_and_maybe_port("proxy:3128"), host_and_maybe_port("proxy:x")
        (('[::1]', ''), ('proxy', ':3128'), ('proxy', None))
    """
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text, ""
    is_port = port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) <= _LARGEST_PORT
    return host, f":{port}" if is_port else None


def require_service_url(url: str) -> None:
    """Refuses a URL that is not https; http will do on this machine alone.

    Raises:
        ValueError: it is none.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise ValueError("no URL, such as https://login.example.org") from None
    if not host or parts.username is not None or parts.query or parts.fragment:
        raise ValueError("no URL, such as https://login.example.org")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError("must begin with https://")


def place_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of what `server_url` has taken; without a port its scheme's."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def certified_host(text: str) -> str:
    """A host as a certificate names it (RFC 5280, RFC 6125): a DNS name, which may begin with `*.`, or an IP address.

    Neither scheme, port nor brackets, and no name or address under which nobody is reached.

    Raises:
        ValueError: it is none, so no certificate would match it; the sentence is for a person.

    Example:
        >>> certified_host("[::1]")
        Traceback (most recent call last):
        ValueError: '[::1]' is no host name and no address: write '::1'
    """
    if _is_certifiable(text):
        return text
    meant = text.strip().partition("://")[2] or text.strip()
    meant = re.split(r"[/?#]", meant, maxsplit=1)[0].rpartition("@")[2]
    bare = re.fullmatch(r"\[([^\]]*)\](:\d*)?|([^:]*)(:\d*)?", meant)
    found = "" if bare is None else (bare[1] or bare[3] or "").partition("%")[0].rstrip(".")
    hint = f"write {found!r}" if _is_certifiable(found) else "write a name like sealora.example.org, or an address"
    raise ValueError(f"{text!r} is no host name and no address: {hint}")


def _is_certifiable(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        labels = text.removeprefix("*.").split(".")
        is_name = all(_LABEL.fullmatch(label) for label in labels) and len(text) <= _LONGEST_NAME
        return is_name and not labels[-1].isdigit()  # or it is an address that somebody mistyped
    return not address.is_unspecified and "%" not in text


def is_loopback(host: str) -> bool:
    """Whether a host, as a URL has it, is this machine."""
    return host in _LOOPBACK


def server_url(text: str) -> str:
    """The URL of a server's front, `https://host:port`, without a slash at its end. Only this machine's may be http.

    Raises:
        ValueError: it is none, or leads over a network without TLS; the sentence is for a person.
    """
    url = text.rstrip("/")
    wrong = ValueError(f"{text!r} is no address of a server: write https://host:port")
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0  # a port that is none raises
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("https", "http") or not is_whole or parts.path or parts.query or parts.username:
        raise wrong
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"{text!r} is not encrypted: write https://")
    return url
