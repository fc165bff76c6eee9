"""The sealing worked out a second time, from the papers and standards, slowly and with nothing of Sealora's.

Keys and ciphers are those of `hpke_reference`, sharing is arithmetic on polynomials, packing is one long integer.
Messages come without their signatures, half of which is drawn anew each time: what is signed is worked out here.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from Crypto.Cipher import AES
from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

from hpke_reference import hkdf_sha256


def aes_256_ctr(key: bytes, count: int, counter: int = 0) -> bytes:
    """`count` bytes of keystream (NIST SP 800-38A, section 6.5)."""
    return AES.new(key, AES.MODE_CTR, nonce=b"", initial_value=counter).encrypt(bytes(count))


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
    stream = aes_256_ctr(key, total, counter=2)  # where GCM begins to encrypt under a nonce of zeros (SP 800-38D, 7.1)
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


def terms_bytes(terms: Mapping[str, Any], segments: Sequence[tuple[int, int]]) -> bytes:
    """The terms, field by field."""
    content = bytes([2]) + bytes.fromhex(terms["run"])
    content += struct.pack(">II", terms["round_number"], terms["attempt"])
    content += b"".join(bytes.fromhex(terms[name]) for name in ("recipe_hash", "roster_hash", "order_digest"))
    content += struct.pack(">HHH", terms["roster_size"], terms["threshold"], terms["min_survivors"])
    content += struct.pack(">IBB", terms["sessions"], terms["sparse"], len(segments))
    for length, bits in segments:
        content += length.to_bytes(5, "big") + bytes([bits])
    return content


def terms_digest(terms: Mapping[str, Any], segments: Sequence[tuple[int, int]]) -> bytes:
    return hashlib.sha256(b"sealora secagg terms" + terms_bytes(terms, segments)).digest()


def content(kind: int, digest: bytes, sender: int, body: bytes) -> bytes:
    """What a signed message says: all of it but the signature."""
    return b"SLRA" + bytes([2, kind]) + digest + struct.pack(">H", sender) + body


def signed_as(content: bytes) -> bytes:
    """What the signature of a message with this content is over."""
    return b"sealora secagg message v2\n" + content


def derive(secret: bytes, digest: bytes, purpose: bytes) -> bytes:
    """A key of the round."""
    return hkdf_sha256(secret, digest, b"sealora secagg v2 " + purpose, 32)


def contribution(mask_seed: bytes, drawer: int, neighbour: int, digest: bytes) -> bytes:
    return derive(mask_seed, digest, b"contribution" + struct.pack(">HH", drawer, neighbour))


def mask_key(of_lower: bytes | None, of_higher: bytes | None, lower: int, higher: int, digest: bytes) -> bytes:
    drew = bytes([of_lower is not None, of_higher is not None])
    secret = (of_lower or b"") + (of_higher or b"")
    return derive(secret, digest, b"pairwise mask" + drew + struct.pack(">HH", lower, higher))


def self_mask_key(seed: bytes, site: int, digest: bytes) -> bytes:
    return derive(seed, digest, b"self mask" + struct.pack(">H", site))


def commitment(what: bytes, owner: int, holder: int, value: bytes, digest: bytes) -> bytes:
    label = struct.pack(">HHB", owner, holder, len(what)) + what
    return hashlib.sha256(b"sealora secagg v2 commitment" + digest + label + value).digest()


def bound_to(what: bytes, sender: int, recipient: int, digest: bytes) -> bytes:
    return b"sealora secagg v2 " + what + digest + struct.pack(">HH", sender, recipient)


def keys_bytes(advertised: Mapping[int, bytes]) -> bytes:
    """The digests of all advertisements."""
    digests = b"".join(hashlib.sha256(body).digest() for _, body in sorted(advertised.items()))
    return indices(sorted(advertised)) + digests


def keys_digest(advertised: Mapping[int, bytes]) -> bytes:
    return hashlib.sha256(b"sealora secagg v2 keys" + keys_bytes(advertised)).digest()


def table(contents: Mapping[int, bytes], neighbours: Mapping[int, Sequence[int]]) -> bytes:
    """Who shared and drew whom: the digests of the statements' contents, and the neighbours."""
    rows = (hashlib.sha256(contents[site]).digest() + indices(neighbours[site]) for site in sorted(contents))
    return indices(sorted(contents)) + b"".join(rows)


def shared_digest(advertised: Mapping[int, bytes], told: bytes) -> bytes:
    """Of keys and shares: `told` is the table."""
    return hashlib.sha256(b"sealora secagg v2 shared" + keys_digest(advertised) + told).digest()


def transcript_digest(of_shared: bytes, checked: Sequence[int]) -> bytes:
    return hashlib.sha256(b"sealora secagg v2 checked" + of_shared + indices(checked)).digest()


def bundle(messages: Sequence[bytes]) -> bytes:
    return struct.pack(">H", len(messages)) + b"".join(struct.pack(">I", len(each)) + each for each in messages)
