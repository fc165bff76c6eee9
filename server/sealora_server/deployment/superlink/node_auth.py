"""Who asks: a node's signed time, checked before a byte of the body is read, and before anything is kept or locked."""

from __future__ import annotations

import binascii
import datetime
import hashlib
import time
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import bytes_to_public_key, verify_signature

from sealora_server.deployment.superlink.quotas import OverQuotaError

Headers = Iterable[tuple[bytes, bytes]]

LONGEST_SECONDS = TIMESTAMP_TOLERANCE + 2 * SYSTEM_TIME_TOLERANCE
"""For how long a signed time could be taken, clocks that differ included."""
_NAMES = tuple(
    name.lower().encode() for name in (FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER, TIMESTAMP_HEADER)
)


class UnauthenticatedError(Exception):
    """A request is not a registered node's, or was there before."""


class UnknownKeyError(UnauthenticatedError):
    """A request names a key that is not registered.

    Attributes:
        key: as it stands in the request; anybody may have written it.
    """

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self.key = key


class NodeAuthentication:
    """Flower's node authentication, with each signed time taken once.

    Flower signs the time and nothing else, and takes a signature for five minutes. Who reads requests in the clear (a
    proxy that ends TLS, a front that was broken into) could repeat them as long, or put the headers of one before the
    body of another. Here a time counts as soon as its signature was found good, whatever becomes of the request. What
    is remembered is the time, not the signature: of one ECDSA signature anybody can make a second (r, -s).

    Strangers leave nothing behind: only what a registered key has signed is remembered, for `LONGEST_SECONDS`.

    Args:
        find: the number of the node that a public key (PEM) is registered for, if there is one.
        most: so many times of one node are remembered at once; what is signed besides is refused.
        clock: monotonic seconds.
    """

    def __init__(
        self, find: Callable[[bytes], int | None], most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._find = find
        self._most = most
        self._clock = clock
        self._seen: defaultdict[int, dict[bytes, float]] = defaultdict(dict)

    def node(self, headers: Headers) -> tuple[int, bytes]:
        """The number of the node that makes a request with these headers, and its public key (PEM).

        Raises:
            UnknownKeyError: the key is not registered.
            UnauthenticatedError: a header is missing, comes twice, is malformed, out of date, or was there before; or
                the signature is not the key's.
            OverQuotaError: the node has signed too many times lately.
        """
        given = [[value for key, value in headers if key.lower() == name] for name in _NAMES]
        if any(len(values) != 1 for values in given):
            raise UnauthenticatedError
        try:
            key, signature = (_bytes_of(values[0]) for values in given[:2])
            signed_at = given[2][0].decode("ascii")
            age = (now() - datetime.datetime.fromisoformat(signed_at)).total_seconds()
        except (ValueError, TypeError, binascii.Error):
            raise UnauthenticatedError from None
        node = self._find(key)
        if node is None:
            raise UnknownKeyError(key)
        in_time = -SYSTEM_TIME_TOLERANCE < age < TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE
        if not in_time or not verify_signature(_parsed(key), signed_at.encode(), signature):
            raise UnauthenticatedError
        self._count(node, hashlib.sha256(signed_at.encode()).digest())
        return node, key

    def _count(self, node: int, signed_at: bytes) -> None:
        seen = self._seen[node]
        past = self._clock() - LONGEST_SECONDS
        while seen and next(iter(seen.values())) < past:
            del seen[next(iter(seen))]
        if signed_at in seen:
            raise UnauthenticatedError
        if len(seen) >= self._most:
            raise OverQuotaError
        seen[signed_at] = self._clock()


def _bytes_of(text: bytes) -> bytes:
    """Base64 in the spelling that encoders make: others of the same bytes exist, and nobody honest sends them."""
    content = b64decode(text, validate=True)
    if b64encode(content) != text:
        raise ValueError("another spelling")
    return content


@lru_cache(maxsize=1024)
def _parsed(key: bytes) -> EllipticCurvePublicKey:
    """Of registered keys only."""
    try:
        return bytes_to_public_key(key)
    except (ValueError, UnsupportedAlgorithm):
        raise UnauthenticatedError from None
