from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.network.address import certified_host, host_and_port, server_url


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


HOSTS = {
    "https://x:9443": "x",
    "https://sealora.example.org": "sealora.example.org",
    "sealora.example.org:9443": "sealora.example.org",
    "sealora.example.org.": "sealora.example.org",
    " sealora.example.org": "sealora.example.org",
    "ada@sealora.example.org/path": "sealora.example.org",
    "[::1]": "::1",
    "[fd00::7]:9443": "fd00::7",
    "https://[fd00::7]:9443/": "fd00::7",
    "[fe80::1%eth0]": "fe80::1",
    "fe80::1%eth0": None,
    "10.0.0.256": None,
    "1.2.3": None,
    "10.0.0.0/8": "10.0.0.0",
    "0.0.0.0": None,  # noqa: S104
    "::": None,
    "": None,
    ".": None,
    "*": None,
    "a..b": None,
    "-a.org": None,
    "a.*.org": None,
    "münchen.example": None,
    "two names": None,
    "a\nb": None,
    "a" * 64: None,
    ".".join(["a" * 60] * 5): None,
}


@pytest.mark.parametrize("text", HOSTS)
def test_a_host_that_no_certificate_can_match_is_refused_with_what_was_meant(text: str) -> None:
    meant = HOSTS[text]
    hint = "write a name like sealora.example.org, or an address" if meant is None else f"write '{meant}'"
    with pytest.raises(ValueError, match="is no host name and no address: ") as caught:
        certified_host(text)
    assert str(caught.value).endswith(hint)


@pytest.mark.parametrize(
    "text",
    ["a", "localhost", "Sealora.Example.ORG", "a_b.example", "xn--mnchen-3ya.example", "*.example.org", "4sites.org",
     "192.0.2.7", "::1", "fd00::7", "FD00:0::7"],
)  # fmt: skip
def test_a_name_or_an_address_is_taken_as_it_is(text: str) -> None:
    assert certified_host(text) == text


@settings(max_examples=300)
@given(
    st.text(alphabet="ab1-_.:*[]%/@ é", max_size=12)
    | st.from_regex(r"(https?://)?[a-z0-9.:\[\]*-]{0,30}", fullmatch=True)
)
def test_what_is_taken_is_what_a_url_s_host_can_be(text: str) -> None:
    """A site writes `https://HOST:9443`: only what comes out of that as it went in can be matched."""
    try:
        host = certified_host(text)
    except ValueError:
        return
    shown = f"[{host}]" if ":" in host else host
    parts = urlsplit(f"https://{shown}:9443")
    assert (parts.hostname, parts.port, parts.path) == (host.lower(), 9443, "")
    with pytest.raises(ValueError, match="no host name"):
        certified_host(f"https://{shown}:9443")
