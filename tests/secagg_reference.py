"""The sealing worked out a second time, from the papers and RFCs, slowly and with nothing of Sealora's.

X25519 is a Montgomery ladder in plain integers, HKDF is HMAC by hand, the ciphers and signatures are pycryptodome's
(Sealora takes them from `cryptography`), sharing is arithmetic on polynomials, packing is one long integer.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import struct
from collections.abc import Mapping, Sequence

from Crypto.Cipher import AES, ChaCha20_Poly1305
from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

_P = 2**255 - 19


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


def hkdf_sha256(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, section 2."""
    extracted = hmac.digest(salt or bytes(32), secret, hashlib.sha256)
    output, block = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(extracted, block + info + bytes([counter]), hashlib.sha256)
        output += block
    return output[:length]


def aes_256_ctr(key: bytes, count: int, counter: int = 0) -> bytes:
    """`count` bytes of keystream (NIST SP 800-38A, section 6.5)."""
    return AES.new(key, AES.MODE_CTR, nonce=b"", initial_value=counter).encrypt(bytes(count))


def chacha20_poly1305(key: bytes, nonce: bytes, plaintext: bytes, bound: bytes) -> bytes:
    """RFC 8439, section 2.8: ciphertext and tag."""
    cipher = ChaCha20_Poly1305.new(key=key, nonce=nonce)
    cipher.update(bound)
    return b"".join(cipher.encrypt_and_digest(plaintext))


SIGNATURE_LABEL = b"sealora composite signature v1: Ed25519 and ML-DSA-65\n"


def ed25519_sign(private: bytes, message: bytes) -> bytes:
    """RFC 8032, section 5.1.6, from the 32-byte private key."""
    return eddsa.new(ECC.construct(curve="Ed25519", seed=private), "rfc8032").sign(message)


def gf128_multiply(left: int, right: int) -> int:
    """In GF(2)[x] modulo x^128 + x^7 + x^2 + x + 1."""
    product = 0
    for position in range(128):
        if right >> position & 1:
            product ^= left << position
    for position in reversed(range(128, 255)):
        if product >> position & 1:
            product ^= (1 << 128 | 0x87) << position - 128
    return product


def gf128_inverse(element: int) -> int:
    """By Fermat: a^(2^128 - 2)."""
    result, square = 1, element
    for _ in range(127):
        square = gf128_multiply(square, square)
        result = gf128_multiply(result, square)
    return result


def shamir_shares(secret: bytes, coefficients: Sequence[bytes], points: Sequence[int]) -> list[bytes]:
    """Shares of a 32-byte secret, two halves; 32-byte coefficients of x, x^2, ..., halved likewise."""
    shares = []
    for point in points:
        halves = b""
        for start in (0, 16):
            total, power = 0, 1
            for coefficient in (secret, *coefficients):
                total ^= gf128_multiply(int.from_bytes(coefficient[start : start + 16], "big"), power)
                power = gf128_multiply(power, point)
            halves += total.to_bytes(16, "big")
        shares.append(halves)
    return shares


def shamir_secret(shares: Mapping[int, bytes]) -> bytes:
    """The value at zero of the polynomial through all of the shares."""
    secret = b""
    for start in (0, 16):
        total = 0
        for point, share in shares.items():
            weight = 1
            for other in shares:
                if other != point:
                    weight = gf128_multiply(weight, gf128_multiply(other, gf128_inverse(point ^ other)))
            total ^= gf128_multiply(int.from_bytes(share[start : start + 16], "big"), weight)
        secret += total.to_bytes(16, "big")
    return secret


def pack(words: Sequence[int], bits: int) -> bytes:
    """Words of `bits` bits, least significant bit first: one long little-endian integer, eight words at a time."""
    packed = b""
    for start in range(0, len(words), 8):
        group = words[start : start + 8]
        number = sum(word << place * bits for place, word in enumerate(group))
        packed += number.to_bytes(-(-len(group) * bits // 8), "little")
    return packed


def container(bits: int) -> int:
    """Bits of the container of a word."""
    return 16 if bits <= 16 else 32


def mask_words(key: bytes, segments: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The mask of a vector, as words below 2^bits, by segment (length, bits)."""
    total = sum(length * container(bits) // 8 for length, bits in segments)
    stream = aes_256_ctr(key, total)
    words, start = [], 0
    for length, bits in segments:
        size = container(bits) // 8
        taken = stream[start : start + length * size]
        words.append(
            [int.from_bytes(taken[at : at + size], "little") % (1 << bits) for at in range(0, len(taken), size)]
        )
        start += length * size
    return words


def encode(values: Sequence[float], low: float, high: float, bits: int, parties: int, key: bytes) -> list[int]:
    """Clips, scales and rounds stochastically; the coins are 32 bits of keystream a value."""
    levels = (2**bits - 1) // parties
    coins = aes_256_ctr(key, 4 * len(values))
    words = []
    for position, value in enumerate(values):
        uniform = int.from_bytes(coins[4 * position : 4 * position + 4], "little") / 2**32
        scaled = (min(max(value, low), high) - low) * (levels / (high - low))
        words.append(min(math.floor(scaled + uniform), levels))
    return words


def hadamard_rows(values: Sequence[float], signs: Sequence[float], rows: int) -> list[float]:
    """The first coordinates of H D x / sqrt(n); H's entries are -1 to the number of ones that row and column share."""
    signed = [value * sign for value, sign in zip(values, signs, strict=True)]
    return [
        sum(value * (-1) ** (row & column).bit_count() for column, value in enumerate(signed)) / math.sqrt(len(signed))
        for row in range(rows)
    ]


def indices(sites: Sequence[int]) -> bytes:
    return struct.pack(f">H{len(sites)}H", len(sites), *sites)


def terms_digest(terms: Mapping[str, object], segments: Sequence[tuple[int, int]]) -> bytes:
    """SHA-256 of the terms, field by field."""
    content = b"sealora secagg terms" + bytes([1]) + bytes.fromhex(str(terms["run"]))
    content += struct.pack(">II", terms["round_number"], terms["attempt"])
    content += b"".join(bytes.fromhex(str(terms[name])) for name in ("recipe_hash", "roster_hash", "order_digest"))
    content += struct.pack(">HHH", terms["roster_size"], terms["threshold"], terms["min_survivors"])
    content += bytes([bool(terms["sparse"]), len(segments)])
    for length, bits in segments:
        content += length.to_bytes(5, "big") + bytes([bits])
    return hashlib.sha256(content).digest()


def transcript_digest(advertised: Mapping[int, tuple[bytes, bytes]], sharers: Sequence[int]) -> bytes:
    """SHA-256 of all keys of a round and of who shared."""
    content = b"sealora secagg transcript" + indices(sorted(advertised))
    content += b"".join(share_key + mask_key for _, (share_key, mask_key) in sorted(advertised.items()))
    return hashlib.sha256(content + indices(sharers)).digest()


def message(kind: int, digest: bytes, sender: int, body: bytes, identity: bytes) -> bytes:
    """A framed message and the Ed25519 half of its signature; the ML-DSA half, which is drawn anew, would follow."""
    framed = b"SLRA" + bytes([1, kind]) + digest + struct.pack(">H", sender) + body
    return framed + ed25519_sign(identity, SIGNATURE_LABEL + b"sealora secagg message v1\n" + framed)


def derive(secret: bytes, digest: bytes, purpose: bytes) -> bytes:
    """A key of the round."""
    return hkdf_sha256(secret, digest, b"sealora secagg v1 " + purpose, 32)


def pair(left: int, right: int) -> bytes:
    return struct.pack(">HH", min(left, right), max(left, right))
