"""The keys of one round: a hybrid of X25519 (RFC 7748) and ML-KEM-768 (FIPS 203), and what is derived from secrets.

A key pair follows from a 32-byte seed as in X-Wing (draft-connolly-cfrg-xwing-kem, section 5.2), so that a pair can be
shared among others and restored by them as 32 bytes. Messages are sealed to a public key by HPKE (RFC 9180, base mode)
with that KEM, HKDF-SHA-256 and ChaCha20-Poly1305: what is recorded today stays closed unless both X25519 and ML-KEM-768
are broken. All other secrets come by HKDF-SHA-256 (RFC 5869) of 256-bit secrets, which a quantum computer does not help
to guess. Every derivation and every ciphertext is bound to the terms of the round.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sealora_common.secagg.errors import ProtocolError

SEED_BYTES = 32
"""Of a key pair, a self-mask or a contribution to a mask."""
_ML_KEM_BYTES = 1184
_X25519_BYTES = 32
PUBLIC_KEY_BYTES = _ML_KEM_BYTES + _X25519_BYTES
"""ML-KEM-768's encapsulation key, then X25519's public key."""
SEALED_BYTES = 1088 + 32 + 16
"""How much longer a sealed message is than what it holds: ML-KEM's ciphertext, X25519's ephemeral key, the tag."""

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_FIELD = 2**255 - 19


class KeyPair:
    """The key pair that a 32-byte seed stands for."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"Expected a seed of {SEED_BYTES} bytes, got {len(seed)}")
        expanded = hashlib.shake_256(seed).digest(96)
        ml_kem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self._private = MLKEM768X25519PrivateKey(ml_kem, x25519)
        self.public = ml_kem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        """1,216 bytes."""

    def unseal(self, ciphertext: bytes, bound: bytes) -> bytes:
        """The inverse of `seal`.

        Raises:
            ProtocolError: the ciphertext was not sealed to this key, or is bound to something else.
        """
        try:
            return _SUITE.decrypt(ciphertext, self._private, bound)
        except (InvalidTag, ValueError):  # ValueError: an ephemeral key of small order (RFC 7748, section 6.1)
            raise ProtocolError("a sealed message does not open: it was altered or belongs elsewhere") from None


def seal(plaintext: bytes, public: bytes, bound: bytes) -> bytes:
    """Seals `plaintext` to a public key, bound to `bound` (see `bound_to`); `SEALED_BYTES` longer.

    Raises:
        ProtocolError: the public key is unusable.
    """
    ml_kem, x25519 = _parse(public)
    try:
        return _SUITE.encrypt(plaintext, MLKEM768X25519PublicKey(ml_kem, x25519), bound)
    except ValueError:  # an all-zero X25519 secret (RFC 7748, section 6.1)
        raise ProtocolError("a peer's key is unusable: the round is refused") from None


def is_usable(public: bytes) -> bool:
    """Whether this is the one encoding of a public key that secrets come of.

    X25519 masks the top bit and reduces what is left (RFC 7748, section 5), so that a key has several spellings: only
    the reduced one is taken, or one key could pass as two. A key of small order gives everybody the same secret.
    """
    try:
        _, x25519 = _parse(public)
        X25519PrivateKey.from_private_bytes(bytes(_X25519_BYTES)).exchange(x25519)  # clamped: zero for small orders
    except (ProtocolError, ValueError):
        return False
    return True


def halves(public: bytes) -> tuple[bytes, bytes]:
    """The ML-KEM part and the X25519 part: two keys are one key if either is the same."""
    return public[:_ML_KEM_BYTES], public[_ML_KEM_BYTES:]


def contribution(mask_seed: bytes, drawer: int, neighbour: int, terms_digest: bytes) -> bytes:
    """The 32 bytes that a site which drew a neighbour gives to the mask they share.

    Derived from the seed of its mask key pair: whoever restores the seed of a site that dropped out has all of them.
    """
    return _derive(mask_seed, terms_digest, b"contribution" + _pair(drawer, neighbour))


def mask_key(of_lower: bytes | None, of_higher: bytes | None, lower: int, higher: int, terms_digest: bytes) -> bytes:
    """The 32-byte key of the mask that two sites share, from the contribution of each of them that drew the other.

    Raises:
        ValueError: neither drew the other.
    """
    given = [part for part in (of_lower, of_higher) if part is not None]
    if not given or lower >= higher:
        raise ValueError("Expected two sites in order, one of which drew the other")
    drew = bytes([of_lower is not None, of_higher is not None])
    return _derive(b"".join(given), terms_digest, b"pairwise mask" + drew + _pair(lower, higher))


def self_mask_key(seed: bytes, index: int, terms_digest: bytes) -> bytes:
    """The 32-byte key of a site's own mask, from its 32-byte seed."""
    return _derive(seed, terms_digest, b"self mask" + index.to_bytes(2, "big"))


def commitment(what: bytes, owner: int, holder: int, value: bytes, terms_digest: bytes) -> bytes:
    """SHA-256 that binds `owner` to a value of full entropy (32 bytes) that `holder` has of it, and hides the value."""
    bound = terms_digest + _pair(owner, holder) + len(what).to_bytes(1, "big") + what
    return hashlib.sha256(b"sealora secagg v2 commitment" + bound + value).digest()


def bound_to(what: bytes, sender: int, recipient: int, terms_digest: bytes) -> bytes:
    """What a sealed message is bound to: the round, both sites, and its purpose."""
    return b"sealora secagg v2 " + what + terms_digest + _pair(sender, recipient)


def _parse(public: bytes) -> tuple[MLKEM768PublicKey, X25519PublicKey]:
    ml_kem, x25519 = halves(public)
    if len(public) != PUBLIC_KEY_BYTES or int.from_bytes(x25519, "little") >= _FIELD:
        raise ProtocolError("a peer's key is unusable: the round is refused")
    try:  # the encapsulation key check of FIPS 203, section 7.2
        return MLKEM768PublicKey.from_public_bytes(ml_kem), X25519PublicKey.from_public_bytes(x25519)
    except ValueError:
        raise ProtocolError("a peer's key is unusable: the round is refused") from None


def _derive(secret: bytes, terms_digest: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=terms_digest, info=b"sealora secagg v2 " + purpose).derive(secret)


def _pair(one: int, other: int) -> bytes:
    return one.to_bytes(2, "big") + other.to_bytes(2, "big")
