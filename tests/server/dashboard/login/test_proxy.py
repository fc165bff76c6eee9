"""A proxy's word, and what others say in its name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from sealora_common.web.sessions import Role, Session
from sealora_server.dashboard.login.proxy import PROOF_HEADER, ProxyGate, ProxyWord
from sealora_server.dashboard.login.settings import ProxySection

SECRET = "what only the proxy knows"
USER = "X-Forwarded-User"


def section(**changes):
    values = {"addresses": ["10.0.0.7", "::1"], "secret": "proxy-secret", "operators": ["anna"], "readers": ["cara"]}
    return ProxySection.model_validate({**values, **changes})


class App:
    """Who has asked, as far as the word tells."""

    def __init__(self, word: ProxyWord | None) -> None:
        self.word = word
        self.asked: list[Session | None] = []

    async def __call__(self, scope, receive, send):
        self.asked.append(self.word and self.word.session(scope))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def asked(headers, address="10.0.0.7", word=True):
    """The status, and who the application was told asks."""
    app = App(ProxyWord(section(), SECRET) if word else None)
    client = TestClient(ProxyGate(app, app.word), client=(address, 5))
    status = client.get("/", headers=headers).status_code
    return status, app.asked


@pytest.mark.parametrize("address", ["10.0.0.7", "::ffff:10.0.0.7", "::1"])
def test_the_proxy_says_who_asks(address):
    for name, role in (("anna", Role.OPERATOR), ("cara", Role.READER)):
        status, [session] = asked([(USER, name), (PROOF_HEADER, SECRET)], address)
        assert (status, session.who, session.role) == (200, name, role)


def test_one_person_has_one_session_whose_forms_others_cannot_send():
    word = ProxyWord(section(), SECRET)
    scope = {
        "type": "http",
        "client": ("10.0.0.7", 5),
        "headers": [(USER.lower().encode(), b"anna"), (PROOF_HEADER.lower().encode(), SECRET.encode())],
    }
    first = word.session(scope)
    assert word.session(scope) is first
    assert word.vouches_for(first)
    assert not word.vouches_for(Session(Role.OPERATOR, "anna"))
    assert first.csrf != ProxyWord(section(), SECRET).session(scope).csrf


def test_a_proxy_that_says_nothing_of_who_asks_is_as_anybody():
    assert asked([]) == (200, [None])
    assert asked([(PROOF_HEADER, SECRET)]) == (200, [None])


LIES = {
    "from elsewhere": ([(USER, "anna"), (PROOF_HEADER, SECRET)], "10.0.0.8"),
    "from this machine": ([(USER, "anna"), (PROOF_HEADER, SECRET)], "127.0.0.1"),
    "without the proof": ([(USER, "anna")], "10.0.0.7"),
    "with another proof": ([(USER, "anna"), (PROOF_HEADER, "guess")], "10.0.0.7"),
    "with two proofs": ([(USER, "anna"), (PROOF_HEADER, "guess"), (PROOF_HEADER, SECRET)], "10.0.0.7"),
    "with two proofs, the right one first": (
        [(USER, "anna"), (PROOF_HEADER, SECRET), (PROOF_HEADER, "guess")],
        "10.0.0.7",
    ),
    "with two names": ([(USER, "anna"), (USER, "cara"), (PROOF_HEADER, SECRET)], "10.0.0.7"),
    "with one's own name before the proxy's": (
        [(USER, "anna"), ("x-forwarded-user", "cara"), (PROOF_HEADER, SECRET)],
        "10.0.0.7",
    ),
    "in other letters": ([("x-FORWARDED-user", "anna")], "10.0.0.8"),
    "a proof alone, to try it": ([(PROOF_HEADER, SECRET)], "10.0.0.8"),
    "through a proxy that is none": (
        [(USER, "anna"), ("X-Forwarded-For", "10.0.0.7"), (PROOF_HEADER, SECRET)],
        "10.0.0.8",
    ),
    "of nobody who is named": ([(USER, "eve"), (PROOF_HEADER, SECRET)], "10.0.0.7"),
    "of an account": ([(USER, "account:root"), (PROOF_HEADER, SECRET)], "10.0.0.7"),
    "of two at once": ([(USER, "anna, cara"), (PROOF_HEADER, SECRET)], "10.0.0.7"),
    "of nobody": ([(USER, ""), (PROOF_HEADER, SECRET)], "10.0.0.7"),
}


@pytest.mark.parametrize("case", LIES)
def test_what_anybody_else_says_is_refused(case):
    headers, address = LIES[case]
    assert asked(headers, address) == (403, [])


@pytest.mark.parametrize("name", ["X_Forwarded_User", "X-Forwarded-User ", "Forwarded", "X-Remote-User", "Remote-User"])
def test_a_header_that_reads_nearly_the_same_is_nothing(name):
    app = App(ProxyWord(section(), SECRET))
    headers = [(name.lower().encode(), b"anna"), (PROOF_HEADER.lower().encode(), SECRET.encode())]
    scope = {"type": "http", "client": ("10.0.0.7", 5), "headers": headers}
    assert app.word.refusal(scope) is None
    assert app.word.session(scope) is None


def test_where_no_proxy_is_named_its_headers_are_nothing():
    assert asked([(USER, "anna"), (PROOF_HEADER, SECRET)], word=False) == (200, [None])


@pytest.mark.parametrize(
    "wrong", [{"addresses": []}, {"addresses": ["10.0.0.0/8"]}, {"header": "X User"}, {"header": "x_user"}]
)
def test_settings_that_would_let_others_in_are_refused(wrong):
    with pytest.raises(ValidationError):
        section(**wrong)
    with pytest.raises(ValidationError, match="secret"):
        ProxySection.model_validate({"addresses": ["10.0.0.7"]})
    assert section().secret == Path("proxy-secret")
