"""Whatever a key's text holds, it is a key or one of two errors; nothing else in the packages reads keys."""

from __future__ import annotations

import ast
import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.identity.encoded_keys import (
    private_key_from_openssh,
    private_key_from_pem,
    public_key_from_openssh,
)

ROOT = Path(__file__).parents[3]
PARTS = ("common/sealora_common", "server/sealora_server", "server/sealora", "client/sealora_client")
PACKAGES = [ROOT / part for part in PARTS]
KEYS = (
    derive_private_key(7, SECP384R1()),
    derive_private_key(7, SECP256R1()),
    Ed25519PrivateKey.from_private_bytes(bytes(32)),
)
POINTS = [key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) for key in KEYS[:2]]


def der(key) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def openssh(key) -> bytes:
    lines = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).splitlines()
    return base64.b64decode(b"".join(lines[1:-1]))


def public(key) -> bytes:
    return base64.b64decode(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])


def armoured(kind: bytes, content: bytes) -> bytes:
    return b"-----BEGIN " + kind + b"-----\n" + base64.encodebytes(content) + b"-----END " + kind + b"-----\n"


def line(content: bytes) -> str:
    size = int.from_bytes(content[:4], "big")
    return f"{content[4 : 4 + size].decode('latin-1')} {base64.b64encode(content).decode()}"


READERS = {
    "PEM": (der, lambda content: private_key_from_pem(armoured(b"PRIVATE KEY", content))),
    "OpenSSH": (openssh, lambda content: private_key_from_openssh(armoured(b"OPENSSH PRIVATE KEY", content))),
    "OpenSSH, public": (public, lambda content: public_key_from_openssh(line(content))),
}


def changed(content: bytes, before: bytes, after: bytes) -> bytes:
    assert before in content
    return content.replace(before, after, 1)


UNUSABLE = {
    "PEM of an unknown kind": ("PEM", changed(der(KEYS[2]), bytes.fromhex("06032b6570"), bytes.fromhex("06032b657f"))),
    "PEM of an unknown curve": ("PEM", changed(der(KEYS[0]), bytes.fromhex("2b81040022"), bytes.fromhex("2b8104007f"))),
    "a private key's point compressed": ("OpenSSH", changed(openssh(KEYS[0]), POINTS[0], b"\x02" + POINTS[0][1:])),
    "a public key's point compressed": (
        "OpenSSH, public",
        changed(public(KEYS[1]), POINTS[1], b"\x03" + POINTS[1][1:]),
    ),
    "a kind that OpenSSH lacks": ("OpenSSH, public", b"\x00\x00\x00\x04ssh-" + bytes(40)),
    "PEM of nothing": ("PEM", b""),
    "OpenSSH of nothing": ("OpenSSH", b""),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_what_holds_no_usable_key_is_one_error(case):
    reader, content = UNUSABLE[case]
    with pytest.raises(ValueError):  # noqa: PT011, whatever its words: callers say their own
        READERS[reader][1](content)


# Spoilt beneath the base64, where a file spoilt as text seldom is.
@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=300)
@given(data=st.data())
def test_a_spoilt_key_is_a_key_or_one_of_two_errors(reader, data):
    encode, read = READERS[reader]
    content = bytearray(encode(data.draw(st.sampled_from(KEYS))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        content = content or bytearray(1)
    try:
        read(bytes(content))
    except (ValueError, TypeError):
        return


def test_a_key_in_each_form_is_read():
    for encode, read in READERS.values():
        for key in KEYS:
            read(encode(key))


def test_nothing_else_reads_keys():
    found = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Name | ast.alias) and _loads(getattr(node, "id", None) or getattr(node, "name", "")))
        or (isinstance(node, ast.Attribute) and _loads(node.attr))
    }
    assert found == {"common/sealora_common/identity/encoded_keys.py"}


def _loads(name: str) -> bool:
    return name.startswith(("load_pem_", "load_der_", "load_ssh_")) and name.endswith(("_private_key", "_public_key"))
