"""Hybrid public keys and what is sealed to them, worked out a second time and with nothing of Sealora's.

X25519 is a Montgomery ladder in plain integers, ML-KEM-768 is kyber-py's, X-Wing and HPKE are written out after their
specifications, HKDF is HMAC by hand, ChaCha20-Poly1305 is pycryptodome's. Sealora takes all of these from
`cryptography`.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from Crypto.Cipher import ChaCha20_Poly1305
from kyber_py.ml_kem import ML_KEM_768

_P = 2**255 - 19
_X_WING_LABEL = bytes.fromhex("5c2e2f2f5e5c")  # draft-connolly-cfrg-xwing-kem, section 5.3
X_WING = 0x647A
"""The KEM's number in HPKE."""


def x25519(private: bytes, public: bytes) -> bytes:
    """RFC 7748, section 5."""
    scalar = int.from_bytes(private, "little") & ~(7 | 1 << 255) | 1 << 254
    u = int.from_bytes(public, "little") & (2**255 - 1)
    x2, z2, x3, z3, swapped = 1, 0, u, 1, 0
    for position in reversed(range(255)):
        bit = scalar >> position & 1
        if swapped ^ bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        swapped = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a, c * b, a * a, b * b
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % _P, u * (da - cb) ** 2 % _P
        x2, z2 = aa * bb % _P, e * (aa + 121665 * e) % _P
    if swapped:
        x2, z2 = x3, z3
    return (x2 * pow(z2, _P - 2, _P) % _P).to_bytes(32, "little")


def x25519_public(private: bytes) -> bytes:
    return x25519(private, bytes([9]) + bytes(31))


def x_wing_pair(seed: bytes) -> tuple[bytes, bytes, bytes]:
    """draft-connolly-cfrg-xwing-kem, section 5.2: ML-KEM's and X25519's private keys, and the public key of both."""
    expanded = hashlib.shake_256(seed).digest(96)
    ml_kem_public, ml_kem_private = ML_KEM_768.key_derive(expanded[:64])
    return ml_kem_private, expanded[64:], ml_kem_public + x25519_public(expanded[64:])


def x_wing_public(seed: bytes) -> bytes:
    return x_wing_pair(seed)[2]


def x_wing_encapsulate(public: bytes, randomness: bytes) -> tuple[bytes, bytes]:
    """Section 5.4, with its 64 random bytes given: the ciphertext and the shared secret."""
    of_ml_kem, ciphertext = ML_KEM_768._encaps_internal(public[:1184], randomness[:32])
    ephemeral = x25519_public(randomness[32:])
    of_x25519 = x25519(randomness[32:], public[1184:])
    return ciphertext + ephemeral, _x_wing_combined(of_ml_kem, of_x25519, ephemeral, public[1184:])


def x_wing_decapsulate(seed: bytes, ciphertext: bytes) -> bytes:
    """Section 5.5: the shared secret."""
    ml_kem, private, public = x_wing_pair(seed)
    of_ml_kem = ML_KEM_768.decaps(ml_kem, ciphertext[:1088])
    return _x_wing_combined(of_ml_kem, x25519(private, ciphertext[1088:]), ciphertext[1088:], public[1184:])


def _x_wing_combined(of_ml_kem: bytes, of_x25519: bytes, ephemeral: bytes, public: bytes) -> bytes:
    return hashlib.sha3_256(of_ml_kem + of_x25519 + ephemeral + public + _X_WING_LABEL).digest()


def key_schedule(shared_secret: bytes, info: bytes, kem: int) -> tuple[bytes, bytes]:
    """RFC 9180, section 5.1, base mode, HKDF-SHA-256 and ChaCha20-Poly1305: the key and the first nonce."""
    suite = b"HPKE" + struct.pack(">HHH", kem, 1, 3)

    def extract(salt: bytes, label: bytes, material: bytes) -> bytes:
        return hkdf_extract(salt, b"HPKE-v1" + suite + label + material)

    def expand(secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
        return hkdf_expand(secret, struct.pack(">H", length) + b"HPKE-v1" + suite + label + context, length)

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared_secret, b"secret", b"")
    return expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)


def seal(plaintext: bytes, public: bytes, info: bytes, randomness: bytes) -> bytes:
    """RFC 9180, section 6.1, with X-Wing, whose 64 random bytes are given: encapsulated key, ciphertext and tag."""
    encapsulated, shared_secret = x_wing_encapsulate(public, randomness)
    key, nonce = key_schedule(shared_secret, info, X_WING)
    return encapsulated + chacha20_poly1305(key, nonce, plaintext, b"")


def unseal(sealed: bytes, seed: bytes, info: bytes) -> bytes:
    """The inverse. Raises ValueError if the tag does not hold."""
    key, nonce = key_schedule(x_wing_decapsulate(seed, sealed[:1120]), info, X_WING)
    cipher = ChaCha20_Poly1305.new(key=key, nonce=nonce)
    return cipher.decrypt_and_verify(sealed[1120:-16], sealed[-16:])


def hkdf_extract(salt: bytes, secret: bytes) -> bytes:
    """RFC 5869, section 2.2, with SHA-256."""
    return hmac.digest(salt or bytes(32), secret, hashlib.sha256)


def hkdf_expand(extracted: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, section 2.3, with SHA-256."""
    output, block = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(extracted, block + info + bytes([counter]), hashlib.sha256)
        output += block
    return output[:length]


def hkdf_sha256(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, section 2."""
    return hkdf_expand(hkdf_extract(salt, secret), info, length)


def chacha20_poly1305(key: bytes, nonce: bytes, plaintext: bytes, bound: bytes) -> bytes:
    """RFC 8439, section 2.8: ciphertext and tag."""
    cipher = ChaCha20_Poly1305.new(key=key, nonce=nonce)
    cipher.update(bound)
    return b"".join(cipher.encrypt_and_digest(plaintext))
