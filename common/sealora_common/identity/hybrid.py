"""The signature of an identity: Ed25519 (RFC 8032) and ML-DSA-65 (FIPS 204) together; it holds only if both hold.

    public key = Ed25519 key (32 bytes) || ML-DSA-65 key (1952 bytes)
    M'         = LABEL || message
    signature  = Ed25519(M') (64 bytes) || ML-DSA-65(M', context LABEL) (3309 bytes)

In the spirit of draft-ietf-lamps-pq-composite-sigs (Composite ML-DSA): both parts sign the same message under a label,
so that neither can be taken out and used as a signature of its own scheme, and ML-DSA gets the label as its context
as well. Not its wire format: the draft puts ML-DSA first and signs a hash of the message. A forger must break both
schemes: the one that a quantum computer would break, and the one that is young.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from sealora_common.identity.points import is_public_key

LABEL = b"sealora composite signature v1: Ed25519 and ML-DSA-65\n"
_ED25519_KEY, _MLDSA_KEY = 32, 1952
_ED25519_SIGNATURE, _MLDSA_SIGNATURE = 64, 3309
PUBLIC_KEY_BYTES = _ED25519_KEY + _MLDSA_KEY
SIGNATURE_BYTES = _ED25519_SIGNATURE + _MLDSA_SIGNATURE
SEED_BYTES = 32
"""Of each part's private key."""


@dataclass(frozen=True)
class SigningKey:
    """The private halves of both schemes. Not shown by `repr`."""

    ed25519: Ed25519PrivateKey = field(repr=False)
    mldsa: MLDSA65PrivateKey = field(repr=False)

    @classmethod
    def from_seeds(cls, ed25519: bytes, mldsa: bytes) -> SigningKey:
        """The key of two 32-byte seeds, which must be independent of each other."""
        return cls(Ed25519PrivateKey.from_private_bytes(ed25519), MLDSA65PrivateKey.from_seed_bytes(mldsa))

    @property
    def public_key(self) -> bytes:
        """The 1984-byte public key, Ed25519 part first."""
        return self.ed25519.public_key().public_bytes_raw() + self.mldsa.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """A 3373-byte signature of `message`, Ed25519 part first. ML-DSA draws randomness: no two are the same."""
        labelled = LABEL + message
        return self.ed25519.sign(labelled) + self.mldsa.sign(labelled, LABEL)


def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether both parts of `signature` (3373 bytes) over `message` are by the holder of `public_key` (1984 bytes)."""
    if len(signature) != SIGNATURE_BYTES or not _is_public_key(public_key):
        return False
    labelled = LABEL + message
    try:
        ed25519, mldsa = _parsed(public_key)
        ed25519.verify(signature[:_ED25519_SIGNATURE], labelled)
        mldsa.verify(signature[_ED25519_SIGNATURE:], labelled, LABEL)
    except (InvalidSignature, ValueError):
        return False
    return True


def key_parts(public_key: bytes) -> tuple[bytes, bytes]:
    """The Ed25519 part (32 bytes) and the ML-DSA-65 part (1952 bytes) of a public key."""
    return public_key[:_ED25519_KEY], public_key[_ED25519_KEY:]


def check_public_key(public_key: bytes) -> bytes:
    """`public_key`, if it is one in the one form that it has. Every 1952 bytes are an ML-DSA-65 key (FIPS 204, 7.2).

    Raises:
        ValueError: it has another length, or its Ed25519 part is no canonical encoding of a usable point.
    """
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise ValueError(f"a public key has {PUBLIC_KEY_BYTES} bytes, this has {len(public_key)}")
    if not _is_public_key(public_key):
        raise ValueError("the Ed25519 part is no canonical public key")
    return public_key


@lru_cache(maxsize=2048)
def _parsed(public_key: bytes) -> tuple[Ed25519PublicKey, MLDSA65PublicKey]:
    """Parsed once: ML-DSA expands its matrix from the key, which takes longer than to verify with it."""
    ed25519, mldsa = key_parts(public_key)
    return Ed25519PublicKey.from_public_bytes(ed25519), MLDSA65PublicKey.from_public_bytes(mldsa)


@lru_cache(maxsize=4096)
def _is_public_key(public_key: bytes) -> bool:
    """Asked of the same members' keys again and again: the arithmetic takes as long as a signature's."""
    return len(public_key) == PUBLIC_KEY_BYTES and is_public_key(public_key[:_ED25519_KEY])
