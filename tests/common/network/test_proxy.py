"""Whatever `*_PROXY` variables hold: a proxy, none, or one sentence that names the variable and no password."""

from __future__ import annotations

import string

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sealora_common.network.address import server_url
from sealora_common.network.bounded_http import AnswerBounds, BoundedClient
from sealora_common.network.proxy import ProxyError, proxy_for, without_proxies

SERVER = "https://sealora.example.org:9443"
PASSWORD = "hunter2hunter2"
BOUNDS = AnswerBounds(5.0, 1 << 20)


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, None),
        ({"https_proxy": "http://p:3128"}, "http://p:3128"),
        ({"HTTPS_PROXY": "p.example:3128"}, "http://p.example:3128"),
        ({"HTTPS_PROXY": "http://p:3128/"}, "http://p:3128"),
        ({"HTTPS_PROXY": "https://p"}, "https://p"),
        ({"HTTPS_PROXY": "HTTP://[fd00::1]:3128"}, "http://[fd00::1]:3128"),
        ({"HTTPS_PROXY": f"http://ada:{PASSWORD}@p:3128"}, f"http://ada:{PASSWORD}@p:3128"),
        ({"HTTPS_PROXY": f"ada:{PASSWORD}@p:3128"}, f"http://ada:{PASSWORD}@p:3128"),
        ({"HTTPS_PROXY": "http://a da:#/?@p:1"}, "http://a%20da:%23%2F%3F@p:1"),
        ({"https_proxy": "lower:1", "HTTPS_PROXY": "upper:1"}, "http://lower:1"),
        ({"https_proxy": "", "HTTPS_PROXY": "upper:1"}, None),
        ({"https_proxy": " ", "ALL_PROXY": "all:1"}, "http://all:1"),
        ({"ALL_PROXY": "all:1"}, "http://all:1"),
        ({"HTTPS_PROXY": "p:1", "ALL_PROXY": "socks5://s:1080"}, "http://p:1"),
        ({"HTTP_PROXY": "socks5://s:1080", "FTP_PROXY": "?", "NO_PROXY": "fd00::/8"}, None),
    ],
)
def test_the_variable_that_concerns_the_server_is_read_and_no_other(environment, url):
    found = proxy_for(SERVER, environment)
    assert (found.url if found else None) == url
    if found:
        assert PASSWORD not in repr(found) + str(found)
        assert found.variable in environment
        BoundedClient(lambda _: BOUNDS, timeout=1, proxy=found).close()  # the HTTP library takes it


@pytest.mark.parametrize(
    ("entries", "address", "direct"),
    [
        ("*", SERVER, True),
        ("example.org", SERVER, True),
        (".example.org", SERVER, True),
        ("*.example.org", SERVER, True),
        ("SEALORA.Example.ORG.", SERVER, True),
        ("sealora.example.org:9443", SERVER, True),
        ("sealora.example.org:443", SERVER, False),
        ("https://sealora.example.org", SERVER, True),
        ("ample.org", SERVER, False),
        ("other.org, example.org", SERVER, True),
        ("other.org example.org", SERVER, True),
        ("fd00::/8", SERVER, False),
        ("fd00::/8", "https://[fd12::7]:9443", True),
        ("fd00::/8", "https://[fe80::7]:9443", False),
        ("[fd12::7]", "https://[fd12::7]:9443", True),
        ("[fd12::7]:9443", "https://[fd12::7]:9443", True),
        ("fd12::7", "https://[fd12::7]:9443", True),
        ("10.0.0.0/8", "https://10.1.2.3:9443", True),
        ("10.1.2.3/8", "https://10.1.2.3:9443", True),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("10.1.2", "https://10.1.2.3", False),
        ("0.0.0.0/0", "https://[fd12::7]:9443", False),
        (",, ,/,[,]:,::::,%,a:b:c,10.0.0.0/99,://,*:", SERVER, False),
    ],
)
def test_no_proxy_has_names_addresses_and_networks_and_what_means_nothing_means_nobody(entries, address, direct):
    assert (proxy_for(address, {"HTTPS_PROXY": "p:1", "NO_PROXY": entries}) is None) is direct


@pytest.mark.parametrize(
    "address", ["http://localhost:1", "https://localhost:9443", "https://127.0.0.1", "https://[::1]"]
)
def test_this_machine_is_reached_directly_whatever_the_variables_hold(address):
    assert proxy_for(address, {"HTTPS_PROXY": "socks5://s", "HTTP_PROXY": "p:1", "ALL_PROXY": "?"}) is None


@pytest.mark.parametrize(
    "value",
    [
        "host:port",
        "http://host:port",
        "socks5://proxy:1080",
        f"socks5h://ada:{PASSWORD}@proxy:1080",
        f"http://ada:{PASSWORD}@",
        f"http://ada:{PASSWORD}",
        f"proxy:3128:ada:{PASSWORD}",
        f"http://ada:{PASSWORD}@proxy:99999",
        f"http://ada:{PASSWORD}@proxy/path?{PASSWORD}",
        f"ada:{PASSWORD}@http://proxy:3128:x",
        f"{PASSWORD}://proxy:3128",
        "fd00::1:3128",
        "[fd00::1",
        "http://",
        "://",
        "http://pröxy:3128",
        "p" * 10_000,
        "http://p:1\nhttp://q:2",
    ],
)
@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_what_cannot_be_used_is_one_sentence_that_names_the_variable_and_no_password(variable, value):
    with pytest.raises(ProxyError) as caught:
        proxy_for(SERVER, {variable: value})
    said = str(caught.value)
    assert said.startswith(f"{variable} is '")
    assert f"or unset {variable} for this program" in said
    assert PASSWORD not in said
    assert said.isprintable()
    assert len(said) < 500
    # The server can be excepted, and then the proxy does not matter.
    assert proxy_for(SERVER, {variable: value, "NO_PROXY": "example.org"}) is None


VALUES = (
    st.text(max_size=60)
    | st.text(alphabet=string.printable, max_size=60)
    | st.from_regex(
        r"(https?|socks5|[a-z]{1,6})?(://)?([a-z]{1,4}(:[ -~]{0,9})?@)?[\[\]0-9a-z.:/%-]{0,20}", fullmatch=True
    )
)


@settings(max_examples=200)
@given(https=VALUES, other=VALUES, excepted=VALUES)
@example(https="http://[::1%25eth0]:1", other="", excepted="")
@example(https="http://a@b@c:1", other="", excepted="[::1%eth0]")
def test_whatever_they_hold_there_is_a_proxy_that_can_be_used_or_none_or_the_sentence(https, other, excepted):
    environment = {"HTTPS_PROXY": https, "ALL_PROXY": other, "HTTP_PROXY": other, "no_proxy": excepted}
    try:
        found = proxy_for(SERVER, environment)
    except ProxyError as error:
        said = str(error)
    else:
        said = f"HTTPS_PROXY is '{found and httpx.Proxy(found.url)}"  # the HTTP library takes it
    assert "_PROXY is '" in said


@settings(max_examples=100)
@given(before=st.text(alphabet="abc:/@[]%?# ", max_size=8), after=st.text(alphabet="abc:/[]%?#.1 ", max_size=12))
def test_what_stands_before_the_last_at_is_never_shown(before, after):
    try:
        found = proxy_for(SERVER, {"HTTPS_PROXY": f"http://{before}{PASSWORD}@{after}"})
    except ProxyError as error:
        said = str(error)
    else:
        said = str(found)
    assert said
    assert PASSWORD not in said


def test_a_process_that_speaks_to_nobody_outside_is_given_no_proxy():
    environment = {"PATH": "/bin", "https_proxy": "a", "NO_PROXY": "b", "Ftp_Proxy": "c", "PROXY_MODE": "d"}
    assert without_proxies(environment) == {"PATH": "/bin", "PROXY_MODE": "d"}


@pytest.mark.parametrize(
    "text", ["https://host:port", "https://host:99999", "https://[::1", "https://host:0", "https://:1"]
)
def test_an_address_whose_port_or_host_is_none_is_refused_where_it_is_read(text):
    with pytest.raises(ValueError, match="is no address of a server: write https://host:port"):
        server_url(text)
