"""Key agreement for one round: X25519 (RFC 7748), HKDF-SHA-256 (RFC 5869), ChaCha20-Poly1305 (RFC 8439)."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sealora_common.secagg.errors import ProtocolError

KEY_BYTES = 32


def public_key(private: bytes) -> bytes:
    """The X25519 public key (32 bytes) of a private one (32 bytes)."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def is_usable(public: bytes) -> bool:
    """Whether a secret comes of agreeing with this X25519 public key (32 bytes), whatever the private one."""
    try:
        _agree(bytes(KEY_BYTES), public)  # times 2^254 after clamping: zero for points of small order alone
    except ProtocolError:
        return False
    return True


def mask_key(private: bytes, peer_public: bytes, own_index: int, peer_index: int, terms_digest: bytes) -> bytes:
    """The 32-byte key of the mask that two sites share in this round; the same from either side.

    Raises:
        ProtocolError: the peer's public key is of small order, so no secret comes of it.
    """
    return _derive(_agree(private, peer_public), terms_digest, b"pairwise mask" + _pair(own_index, peer_index))


def self_mask_key(seed: bytes, index: int, terms_digest: bytes) -> bytes:
    """The 32-byte key of a site's own mask, from its 32-byte seed."""
    return _derive(seed, terms_digest, b"self mask" + index.to_bytes(2, "big"))


def seal_for_peer(
    private: bytes, peer_public: bytes, sender: int, recipient: int, terms_digest: bytes, plaintext: bytes
) -> bytes:
    """Encrypts `plaintext` from site `sender` to site `recipient`; 16 bytes longer than the plaintext."""
    cipher, nonce, bound = _pairwise_aead(private, peer_public, sender, recipient, terms_digest, own=sender)
    return cipher.encrypt(nonce, plaintext, bound)


def open_from_peer(
    private: bytes, peer_public: bytes, sender: int, recipient: int, terms_digest: bytes, ciphertext: bytes
) -> bytes:
    """The inverse of `seal_for_peer`, at the recipient.

    Raises:
        ProtocolError: the ciphertext is not what `sender` encrypted for `recipient` in this round.
    """
    cipher, nonce, bound = _pairwise_aead(private, peer_public, sender, recipient, terms_digest, own=recipient)
    try:
        return cipher.decrypt(nonce, ciphertext, bound)
    except InvalidTag:
        raise ProtocolError("an encrypted share does not open: it was altered or belongs elsewhere") from None


def _pairwise_aead(
    private: bytes, peer_public: bytes, sender: int, recipient: int, terms_digest: bytes, *, own: int
) -> tuple[ChaCha20Poly1305, bytes, bytes]:
    peer = recipient if own == sender else sender
    key = _derive(_agree(private, peer_public), terms_digest, b"share encryption" + _pair(own, peer))
    # The key lives for one round and carries one message each way: the direction alone makes the nonce unique.
    nonce = (0 if sender < recipient else 1).to_bytes(12, "big")
    bound = terms_digest + sender.to_bytes(2, "big") + recipient.to_bytes(2, "big")
    return ChaCha20Poly1305(key), nonce, bound


def _agree(private: bytes, peer_public: bytes) -> bytes:
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(peer_public))
    except ValueError:  # RFC 7748, section 6.1: an all-zero shared secret must be refused
        raise ProtocolError("a peer's X25519 key is unusable: the round is refused") from None


def _derive(secret: bytes, terms_digest: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=terms_digest, info=b"sealora secagg v1 " + purpose).derive(secret)


def _pair(left: int, right: int) -> bytes:
    low, high = sorted((left, right))
    return low.to_bytes(2, "big") + high.to_bytes(2, "big")
