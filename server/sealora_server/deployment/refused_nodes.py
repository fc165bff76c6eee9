"""Who was not let in, for the server's log: one line a node, in words for its operator, without the key itself."""

from __future__ import annotations

import hashlib
import logging
from base64 import b64decode, b64encode
from collections import OrderedDict

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.supercore.primitives.asymmetric import bytes_to_public_key

from sealora_common.health.logs import fields
from sealora_common.show.safe_text import safe_text

log = logging.getLogger(__name__)

_REMEMBERED = 256
"""Keys that were told of. Strangers may make as many as they like, so no more are kept."""


class RefusedNodes:
    """Tells of nodes that ask for a session and get none. That a site asks again and again is told once."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, None] = OrderedDict()

    def unknown(self, key: bytes) -> None:
        """A node asked whose public key is not registered."""
        shown = fingerprint(key)
        if self._is_new(shown):
            log.warning(
                "a node asked to connect whose key is not registered (%s): if it is one of your sites, take its card "
                "in with `sealora server register`",
                shown,
                extra=fields(key=shown),
            )

    def busy(self, site: str, since: str) -> None:
        """A registered node asked for a second session while the one that began at `since` is open."""
        name = safe_text(site)
        if self._is_new(f"{name} {since}"):
            log.warning(
                "site %s asked for a second session while one is open: it was killed and started again within a "
                "minute, or its keys are in use at two places",
                name,
                extra=fields(site=name),
            )

    def _is_new(self, what: str) -> bool:
        is_new = what not in self._told
        self._told[what] = None
        self._told.move_to_end(what)
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return is_new


def fingerprint(key: bytes) -> str:
    """Of a node's public key (PEM), as `ssh-keygen -l` shows it; what is no key is said to be none."""
    try:
        public = bytes_to_public_key(key).public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    except (ValueError, UnsupportedAlgorithm):
        return "no key at all"
    digest = hashlib.sha256(b64decode(public.split()[1])).digest()
    return f"SHA256:{b64encode(digest).decode().rstrip('=')}"
