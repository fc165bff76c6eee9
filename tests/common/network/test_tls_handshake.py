"""What a handshake agreed on: read from real handshakes, and from a server's bytes that are not to be trusted."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certificates import Authority
from handshakes import needs_hybrid, only_group, server_context, shaken
from sealora_common.network.tls_handshake import Agreed, HandshakeWatch

PROTECTED = "recorded traffic is protected against a later quantum computer"
UNPROTECTED = "recorded traffic is not protected against a later quantum computer"
UNKNOWN = "so it is not known whether recorded traffic is protected against a later quantum computer"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def agreed_with(authority: Authority, change: Callable[[ssl.SSLContext, ssl.SSLContext], None]) -> Agreed:
    server, client = server_context(authority), ssl.create_default_context(cafile=str(authority.ca))
    change(server, client)
    return shaken(server, client)


# For P-384 the server must ask for another key share: its first hello is not its last.
@pytest.mark.parametrize(("curve", "group"), [("X25519", "X25519"), ("prime256v1", "secp256r1"), ("secp384r1",) * 2])
def test_the_group_that_was_negotiated_is_told(authority: Authority, curve: str, group: str) -> None:
    agreed = agreed_with(authority, lambda server, client: only_group(server, curve))
    assert (agreed.version, agreed.group, agreed.is_quantum_safe) == ("TLSv1.3", group, False)
    assert agreed.cipher.startswith("TLS_")
    assert agreed.sentence().startswith(
        f"TLSv1.3, {agreed.cipher}, key exchange {group}: {UNPROTECTED}; X25519MLKEM768 "
    )


def test_the_group_is_told_of_tls_1_2(authority: Authority) -> None:
    def old(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        server.set_ecdh_curve("secp384r1")
        client.maximum_version = ssl.TLSVersion.TLSv1_2

    agreed = agreed_with(authority, old)
    assert (agreed.version, agreed.group, agreed.is_quantum_safe) == ("TLSv1.2", "secp384r1", False)


@needs_hybrid
def test_the_hybrid_group_is_negotiated_where_openssl_has_it(authority: Authority) -> None:
    agreed = agreed_with(authority, lambda server, client: None)
    assert (agreed.group, agreed.is_quantum_safe) == ("X25519MLKEM768", True)


def test_of_two_handshakes_the_last_counts(authority: Authority) -> None:
    server, client = server_context(authority), ssl.create_default_context(cafile=str(authority.ca))
    watch = HandshakeWatch(client)
    for curve in ("secp384r1", "prime256v1"):
        server.set_ecdh_curve(curve)
        agreed = shaken(server, client, watch)
    assert agreed.group == "secp256r1"


def test_a_python_without_the_hook_does_not_know_the_group(authority: Authority) -> None:
    class Deaf(ssl.SSLContext):
        _msg_callback = None

    client = Deaf(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(authority.ca)
    agreed = shaken(server_context(authority), client)
    assert (agreed.group, agreed.is_quantum_safe) == (None, None)
    assert agreed.sentence() == f"TLSv1.3, {agreed.cipher}, key exchange not known: {UNKNOWN}"


def server_hello(*extensions: tuple[int, bytes]) -> bytes:
    """As the server writes it, with a session id of three bytes."""
    tail = b"".join(kind.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content for kind, content in extensions)
    body = b"\3\3" + bytes(32) + b"\3abc" + b"\x13\2\0" + len(tail).to_bytes(2, "big") + tail
    return b"\2" + len(body).to_bytes(3, "big") + body


class Tls:
    """A connection that is up."""

    def version(self) -> str:
        return "TLSv1.3"

    def cipher(self) -> tuple[str, str, int]:
        return "TLS_X", "TLSv1.3", 256


def heard(message: bytes, direction: str = "read", content: int = 22, kind: int = 2) -> Agreed:
    watch = HandshakeWatch(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    watch._hear(None, direction, 0x303, content, kind, message)
    return watch.agreed(Tls())  # type: ignore[arg-type]


VERSIONS = (43, b"\3\4")


@pytest.mark.parametrize(
    ("number", "name", "safe", "said"),
    [
        (4588, "X25519MLKEM768", True, PROTECTED),
        (4587, "SecP256r1MLKEM768", True, PROTECTED),
        (4589, "SecP384r1MLKEM1024", True, PROTECTED),
        (513, "MLKEM768", True, PROTECTED),
        (30, "X448", False, UNPROTECTED),
        (9999, "group 9999", None, UNKNOWN),
    ],
)
def test_what_a_group_withstands_is_said(number: int, name: str, safe: bool | None, said: str) -> None:
    agreed = heard(server_hello(VERSIONS, (51, number.to_bytes(2, "big") + b"\0\1k")))
    assert (agreed.group, agreed.is_quantum_safe) == (name, safe)
    assert agreed.sentence().startswith(f"TLSv1.3, TLS_X, key exchange {name}: {said}")


def test_only_the_server_s_own_handshake_messages_count() -> None:
    hello = server_hello((51, b"\x11\xec"))
    assert heard(hello).group == "X25519MLKEM768"
    assert heard(hello, direction="write").group is None
    assert heard(hello, content=23).group is None
    assert heard(hello, kind=1).group is None
    assert heard(server_hello(VERSIONS)).group is None


@given(st.binary(max_size=120), st.sampled_from([1, 2, 12, 256]))
def test_no_bytes_of_a_server_raise(message: bytes, kind: int) -> None:
    heard(message, kind=kind).sentence()


@given(st.integers(0, 60))
def test_no_hello_that_ends_early_raises(length: int) -> None:
    heard(server_hello(VERSIONS, (51, b"\x11\xec\0\1k"))[:length]).sentence()
