"""Public keys and signatures as text, and the short forms in which people compare them.

In files they are base64 (RFC 4648, section 4, padded): 2648 letters for a key, 4500 for a signature. Nobody reads
those out. A key's pin is the SHA-256 of the whole key, 64 hexadecimal digits, to be copied into a file; its
fingerprint is the first 100 bits of the same hash, in base 32, to be read out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated

from pydantic import AfterValidator

from sealora_common.identity.hybrid import SIGNATURE_BYTES, check_public_key

_PINNED_AS = b"sealora public key v1\n"


def key_to_text(public_key: bytes) -> str:
    """The base64 of a 1984-byte public key."""
    return base64.b64encode(public_key).decode()


def key_from_text(text: str) -> bytes:
    """The public key of which `text` is the base64.

    Raises:
        ValueError: it is none, or not in canonical form.
    """
    return check_public_key(_decode(text))


def signature_to_text(signature: bytes) -> str:
    """The base64 of a 3373-byte signature."""
    return base64.b64encode(signature).decode()


def signature_from_text(text: str) -> bytes:
    """The signature of which `text` is the base64; empty if it is empty.

    Raises:
        ValueError: it is none, or not in canonical form.
    """
    signature = _decode(text)
    if len(signature) not in (0, SIGNATURE_BYTES):
        raise ValueError(f"a signature has {SIGNATURE_BYTES} bytes, this has {len(signature)}")
    return signature


def key_pin(public_key: bytes) -> str:
    """SHA-256 (hex) over the whole public key, which stands for it in files: `site.yaml`'s `coordinator`."""
    return hashlib.sha256(_PINNED_AS + public_key).hexdigest()


def key_fingerprint(public_key: bytes) -> str:
    """The `short_form` of the pin, for people to compare by telephone."""
    return short_form(bytes.fromhex(key_pin(public_key)))


def short_form(digest: bytes) -> str:
    """The first 100 bits of a hash for people to read out, in base 32 (RFC 4648): XXXXX-XXXXX-XXXXX-XXXXX."""
    text = base64.b32encode(digest).decode()[:20]
    return "-".join(text[start : start + 5] for start in range(0, 20, 5))


def _decode(text: str) -> bytes:
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None
    if base64.b64encode(decoded).decode() != text:  # bits beyond the last byte, which the decoder lets pass
        raise ValueError("not canonical base64")
    return decoded


def _checked_key(text: str) -> str:
    key_from_text(text)
    return text


def _checked_signature(text: str) -> str:
    signature_from_text(text)
    return text


PublicKeyText = Annotated[str, AfterValidator(_checked_key)]
"""A field that holds a public key in base64."""
SignatureText = Annotated[str, AfterValidator(_checked_signature)]
"""A field that holds a signature in base64, or nothing."""
