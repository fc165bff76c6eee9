from __future__ import annotations

import pytest

from sealora_common.network.address import host_and_port, server_url


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::]:9443", ("::", 9443)),
        ("[::1]:9180", ("::1", 9180)),
        ("name:0", ("name", 0)),
        ("::1:80", ("::1", 80)),
        ("name:65535", ("name", 65535)),
    ],
)
def test_an_address_falls_into_host_and_port(text: str, parts: tuple[str, int]) -> None:
    assert host_and_port(text) == parts


@pytest.mark.parametrize("text", ["", ":", "a", "a:", ":80", "[]:80", "a:b", "a:-1", "a:65536", "a:8 0"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no host:port"):
        host_and_port(text)


@pytest.mark.parametrize(
    "text",
    ["https://server.example:9443", "https://server.example", "https://[::1]:9443", "http://127.0.0.1:9443"],
)
def test_a_server_is_reached_by_its_url_with_or_without_a_slash(text: str) -> None:
    assert server_url(text) == server_url(f"{text}/") == text


@pytest.mark.parametrize(
    "text",
    ["", "server.example", "ftp://server.example", "https://", "https://a/b", "https://a?b", "https://user@a"],
)
def test_what_is_no_url_of_a_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no address of a server: write https://host:port"):
        server_url(text)


def test_a_server_elsewhere_is_not_reached_without_encryption() -> None:
    with pytest.raises(ValueError, match=r"'http://server\.example' is not encrypted: write https://"):
        server_url("http://server.example")
