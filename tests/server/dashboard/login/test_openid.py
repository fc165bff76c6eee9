"""What a login service says is believed only as far as it holds."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import OctKey, RSAKey
from openid_provider import CLIENT, SECRET, OpenIdProvider, key_of
from pydantic import ValidationError

from sealora_common.errors import PolicyError
from sealora_common.network.tls import client_context
from sealora_server.dashboard.login import openid
from sealora_server.dashboard.login.openid import LOGIN_SECONDS, OpenIdService
from sealora_server.dashboard.login.settings import OpenIdSection

CONTEXT = client_context(None)
BACK = "https://server.example.org/login/openid/back"


@pytest.fixture
def provider():
    with OpenIdProvider() as provider:
        yield provider


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def service_of(provider, clock=time.time, secret=SECRET, **changes):
    section = OpenIdSection(issuer=provider.issuer, client_id=CLIENT, client_secret=Path("secret"), **changes)
    return OpenIdService(section, secret, CONTEXT, clock)


async def sent_back(service, begun):
    """What the service's page sends a browser back with."""
    page = await service.page(begun, BACK)
    async with httpx.AsyncClient() as browser:
        answer = await browser.get(page)
    location = answer.headers["location"]
    assert location.startswith(f"{BACK}?")
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


async def logged_in(service):
    begun = service.begun()
    return await service.came_back(begun, BACK, await sent_back(service, begun))


def test_who_logs_in_is_known_by_what_never_changes_and_by_the_claims(provider):
    provider.person = {"sub": "7", "preferred_username": "anna", "groups": ["sealora", 5, "staff"]}
    vouched = asyncio.run(logged_in(service_of(provider)))
    assert vouched.subject == f"7 of {provider.issuer}"
    assert vouched.texts("preferred_username") == ("anna",)
    assert vouched.texts("groups") == ("sealora", "staff")
    assert vouched.texts("missing") == ()
    assert provider.problems == []
    assert provider.asked.count("/realm/.well-known/openid-configuration") == 1


def unsigned(claims):
    parts = (base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in ({"alg": "none"}, claims))
    return b".".join((*parts, b"")).decode()


def with_the_secret(claims):
    key = OctKey.import_key(SECRET.ljust(32))
    return jws.serialize_compact({"alg": "HS256"}, json.dumps(claims), key, algorithms=["HS256"])


LIES = {
    "another issuer": {"change": lambda claims: {**claims, "iss": "https://evil.example.org"}},
    "for another client": {"change": lambda claims: {**claims, "aud": "other"}},
    "for another client, though this one asked": {"change": lambda claims: {**claims, "aud": "other", "azp": CLIENT}},
    "for several, of whom another asked": {
        "change": lambda claims: {**claims, "aud": [CLIENT, "other"], "azp": "other"}
    },
    "for several, and nobody says who asked": {"change": lambda claims: {**claims, "aud": [CLIENT, "other"]}},
    "for nobody": {"change": lambda claims: {name: claims[name] for name in claims if name != "aud"}},
    "of another login": {"change": lambda claims: {**claims, "nonce": "other"}},
    "of no login": {"change": lambda claims: {name: claims[name] for name in claims if name != "nonce"}},
    "expired": {"change": lambda claims: {**claims, "exp": int(time.time()) - 120}},
    "without an end": {"change": lambda claims: {name: claims[name] for name in claims if name != "exp"}},
    "from the future": {"change": lambda claims: {**claims, "iat": int(time.time()) + 600}},
    "of nobody": {"change": lambda claims: {**claims, "sub": ""}},
    "of a number": {"change": lambda claims: {**claims, "sub": 7}},
    "unsigned": {"sign": unsigned},
    "signed by what both know": {"sign": with_the_secret},
    "no token": {"sign": lambda claims: "a.b"},
    "no text": {"sign": lambda claims: 5},
}


@pytest.mark.parametrize("case", LIES)
def test_an_id_token_that_does_not_hold_is_refused(provider, case):
    for name, value in LIES[case].items():
        setattr(provider, name, value)
    with pytest.raises(PolicyError) as refused:
        asyncio.run(logged_in(service_of(provider)))
    assert (
        "does not hold" in str(refused.value)
        or "does not say who" in str(refused.value)
        or "no ID token" in str(refused.value)
    )
    assert "anna" not in str(refused.value)


def test_a_key_that_the_service_does_not_publish_is_refused(provider):
    provider.sign = lambda claims: provider.signed(claims, RSAKey.generate_key(2048, {"kid": "one"}))
    with pytest.raises(PolicyError, match="does not hold"):
        asyncio.run(logged_in(service_of(provider)))


def test_a_secret_among_the_keys_that_a_service_publishes_signs_nothing(provider):
    secret = OctKey.generate_key(256, {"kid": "secret"})
    provider.published.append(secret)
    claims = {"alg": "HS256", "kid": "secret"}
    provider.sign = lambda said: jws.serialize_compact(claims, json.dumps(said), secret, algorithms=["HS256"])
    with pytest.raises(PolicyError, match="does not hold"):
        asyncio.run(logged_in(service_of(provider)))


def test_a_new_key_of_the_service_is_fetched_but_not_for_whoever_asks(provider):
    clock = Clock()
    service = service_of(provider, clock)
    new = key_of("two")

    async def run() -> None:
        await logged_in(service)
        provider.sign = lambda claims: provider.signed(claims, new)
        for _ in range(3):
            with pytest.raises(PolicyError, match="does not hold"):
                await logged_in(service)
        assert provider.asked.count("/realm/keys") == 1
        provider.published = [new]
        clock.ahead = 61.0
        assert (await logged_in(service)).subject.startswith("anna of")
        assert provider.asked.count("/realm/keys") == 2

    asyncio.run(run())


def test_a_login_is_of_the_browser_that_began_it_and_of_no_other(provider):
    async def run() -> None:
        service = service_of(provider)
        mine, other = service.begun(), service.begun()
        sent = await sent_back(service, other)
        for query in (sent, {**sent, "state": ""}, {name: sent[name] for name in sent if name != "state"}):
            with pytest.raises(PolicyError, match="this login was not begun here"):
                await service.came_back(mine, BACK, query)
        again = service_of(provider)  # the server was started anew meanwhile
        with pytest.raises(PolicyError, match="this login was not begun here"):
            await again.came_back(other, BACK, sent)
        assert "/realm/token" not in provider.asked

    asyncio.run(run())


@pytest.mark.parametrize("begun", ["", ".", "x.y", "9" * 17 + ".a", "-1.a", "9999999999.a", "1e3.a", "٣.a", "\udcff"])
def test_a_cookie_that_is_none_is_refused(provider, begun):
    service = service_of(provider)
    state = service._made("state", begun)
    with pytest.raises(PolicyError, match="this login was not begun here"):
        asyncio.run(service.came_back(begun, BACK, {"state": state, "code": "x"}))


def test_a_login_ends_after_ten_minutes(provider):
    clock = Clock()
    service = service_of(provider, clock)

    async def run() -> None:
        begun = service.begun()
        sent = await sent_back(service, begun)
        clock.ahead = LOGIN_SECONDS + 2
        with pytest.raises(PolicyError, match="too long ago"):
            await service.came_back(begun, BACK, sent)

    asyncio.run(run())


def test_a_code_is_of_use_once_and_for_whoever_has_the_verifier(provider):
    async def run() -> None:
        service = service_of(provider)
        begun = service.begun()
        sent = await sent_back(service, begun)
        await service.came_back(begun, BACK, sent)
        with pytest.raises(PolicyError, match=r"cannot be asked \(its answer is 400\)"):
            await service.came_back(begun, BACK, sent)
        stolen = await sent_back(service, service.begun())
        begun = service.begun()
        mine = await sent_back(service, begun)
        with pytest.raises(PolicyError, match=r"cannot be asked \(its answer is 400\)"):
            await service.came_back(begun, BACK, {**mine, "code": stolen["code"]})

    asyncio.run(run())


def test_an_answer_of_another_service_is_refused_and_so_is_a_refusal(provider):
    provider.returned = {"iss": "https://evil.example.org"}
    with pytest.raises(PolicyError, match="another login service"):
        asyncio.run(logged_in(service_of(provider)))
    provider.returned = {}
    provider.person = None
    with pytest.raises(PolicyError, match="has not let you in"):
        asyncio.run(logged_in(service_of(provider)))


CONFIGURATIONS = {
    "of another issuer": (lambda issuer: {"issuer": "https://other.example.org"}, "calls itself another issuer"),
    "that leads to plain http": (lambda issuer: {"token_endpoint": "http://evil.example.org/t"}, "token_endpoint"),
    "that leads into a script": (lambda issuer: {"authorization_endpoint": "javascript:1"}, "authorization_endpoint"),
    "without keys": (lambda issuer: {"jwks_uri": None}, "jwks_uri"),
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_a_configuration_is_refused(provider, case):
    metadata, said = CONFIGURATIONS[case]
    provider.metadata = metadata(provider.issuer)
    service = service_of(provider)
    with pytest.raises(PolicyError, match=said):
        asyncio.run(service.page(service.begun(), BACK))


ANSWERS = {
    "no JSON": (b"<html>", "cannot be asked"),
    "no object": (b"[]", "is no JSON object"),
    "without an end": (b" " * (300 * 2**10), "its answer is too long"),
    "deep": (b"[" * 10_000, "cannot be asked"),
}


@pytest.mark.parametrize("case", ANSWERS)
@pytest.mark.parametrize("path", ["/realm/.well-known/openid-configuration", "/realm/keys"])
def test_what_is_no_answer_is_one_sentence(provider, case, path):
    content, said = ANSWERS[case]
    provider.answers[path] = content
    with pytest.raises(PolicyError, match=said):
        asyncio.run(logged_in(service_of(provider)))


def test_a_service_that_is_not_there_is_one_sentence(provider):
    section = OpenIdSection(issuer="http://127.0.0.1:1/realm", client_id=CLIENT)
    service = OpenIdService(section, None, CONTEXT)
    with pytest.raises(PolicyError, match=r"cannot be asked \(ConnectError\): try again later"):
        asyncio.run(service.page(service.begun(), BACK))


def test_a_service_that_answers_a_letter_at_a_time_is_waited_for_no_longer(monkeypatch):
    monkeypatch.setattr(openid, "_SECONDS", 0.2)

    async def dribble(reader, writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            writer.close()

    async def run() -> None:
        async with await asyncio.start_server(dribble, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            section = OpenIdSection(issuer=f"http://127.0.0.1:{port}", client_id=CLIENT)
            service = OpenIdService(section, None, CONTEXT)
            with pytest.raises(PolicyError, match=r"cannot be asked \(TimeoutError\)"):
                await asyncio.wait_for(service.page(service.begun(), BACK), 5)

    asyncio.run(run())


def test_the_service_is_asked_itself_whatever_proxy_the_environment_names(provider, monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    service = service_of(provider)
    assert asyncio.run(service.page(service.begun(), BACK)).startswith(provider.issuer)


def test_a_scope_in_which_nobody_is_named_is_refused():
    with pytest.raises(ValidationError, match="`openid` is missing in it"):
        OpenIdSection(issuer="https://login.example.org", client_id=CLIENT, scope="profile openidx")


@pytest.mark.parametrize(
    "issuer",
    ["http://login.example.org", "ftp://login.example.org", "login.example.org", "https://a@b", "https://a?b", "//a"],
)
def test_a_url_that_is_not_https_is_no_issuer(issuer):
    with pytest.raises(ValidationError):
        OpenIdSection(issuer=issuer, client_id=CLIENT)


@pytest.mark.parametrize(
    "keys", [{"keys": 5}, {"keys": [{"kty": "RSA"}]}, {}, {"keys": [{"kty": "oct", "k": "A" * 43}]}]
)
def test_keys_that_are_none_are_one_sentence(provider, keys):
    provider.answers["/realm/keys"] = json.dumps(keys).encode()
    with pytest.raises(PolicyError, match="does not hold"):
        asyncio.run(logged_in(service_of(provider)))
