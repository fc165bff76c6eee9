"""What a reverse proxy says of who asks: believed from its own addresses, with what only it knows, refused otherwise.

Every request with one of the two headers that is not the proxy's is refused, whatever else it has: so nobody can find
out by trying, and a proxy that forgets to take the header away from what it is sent passes nothing on unnoticed, as it
adds its own and there are two then.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sealora_common.errors import PolicyError
from sealora_common.web.guard import refusal
from sealora_common.web.sessions import Role, Session
from sealora_server.dashboard.login.name import person_name
from sealora_server.dashboard.login.settings import ProxySection

PROOF_HEADER: Final = "Sealora-Proxy-Proof"


class ProxyWord:
    """Judges what requests say.

    Somebody whom the proxy vouches for needs no cookie: each of their requests says who they are. Their forms carry
    what this process made for them, as all forms do.

    Args:
        section: of server.yaml.
        secret: what the proxy knows.
    """

    def __init__(self, section: ProxySection, secret: str) -> None:
        self._section = section
        self._secret = secret.encode()
        self._addresses = frozenset(map(_address, section.addresses))
        self._sessions: dict[tuple[Role, str], Session] = {}

    def refusal(self, scope: Scope) -> Response | None:
        """Why a request is not answered; None if it is, whether or not it says who asks."""
        names, proofs = self._said(scope)
        if (names or proofs) and not self._is_the_proxys(scope, names, proofs):
            return refusal(403, "Only this server's proxy may say who asks.")
        if names and self._session_of(names[0]) is None:
            return refusal(403, "You may not log in here: `proxy` in server.yaml says who may.")
        return None

    def session(self, scope: Scope) -> Session | None:
        """Who asks, as the proxy says; None if it says nothing, or somebody else does."""
        names, proofs = self._said(scope)
        return self._session_of(names[0]) if names and self._is_the_proxys(scope, names, proofs) else None

    def vouches_for(self, session: Session) -> bool:
        """Whether a session is of its word."""
        return self._sessions.get((session.role, session.who)) is session

    def _said(self, scope: Scope) -> tuple[list[str], list[str]]:
        headers = Headers(scope=scope)
        return headers.getlist(self._section.header), headers.getlist(PROOF_HEADER)

    def _is_the_proxys(self, scope: Scope, names: list[str], proofs: list[str]) -> bool:
        client = scope.get("client")
        is_there = client is not None and _address(client[0]) in self._addresses
        knows = len(proofs) == 1 and hmac.compare_digest(proofs[0].encode("utf-8", "surrogateescape"), self._secret)
        return is_there and knows and len(names) <= 1

    def _session_of(self, said: str) -> Session | None:
        try:
            name = person_name(said)
        except PolicyError:
            return None
        role = self._section.role_of((name,))
        return None if role is None else self._sessions.setdefault((role, name), Session(role, name))


class ProxyGate:
    """Lets through to `app` what no stranger says of who asks.

    Args:
        app: what answers.
        word: judges; None: there is no proxy, and the headers are nothing.
    """

    def __init__(self, app: ASGIApp, word: ProxyWord | None) -> None:
        self._app = app
        self._word = word

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the server."""
        refused = self._word.refusal(scope) if self._word is not None and scope["type"] == "http" else None
        await (refused or self._app)(scope, receive, send)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return text
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
