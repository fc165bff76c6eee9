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
from starlette.types import ASGIApp, Receive, Scope, Send

from sealora_common.errors import PolicyError
from sealora_common.web.guard import refusal
from sealora_common.web.sessions import Role, Session
from sealora_server.dashboard.login.name import person_name
from sealora_server.dashboard.login.settings import ProxySection

PROOF_HEADER: Final = "Sealora-Proxy-Proof"
_SESSION = "sealora.proxy-session"  # in an ASGI scope


class ProxyGate:
    """Lets through to `app` what is not a lie of somebody who is no proxy; notes who asks, if the proxy says so.

    Somebody whom the proxy vouches for needs no cookie: each of their requests says who they are. Their forms carry
    what this process made for them, as all forms do.

    Args:
        app: what answers.
        section: of server.yaml.
        secret: what the proxy knows.
    """

    def __init__(self, app: ASGIApp, section: ProxySection, secret: str) -> None:
        self._app = app
        self._section = section
        self._secret = secret.encode()
        self._addresses = frozenset(map(_address, section.addresses))
        self._sessions: dict[tuple[Role, str], Session] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the server."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            names, words = headers.getlist(self._section.header), headers.getlist(PROOF_HEADER)
            if names or words:
                if not self._is_the_proxy(scope, words) or len(names) > 1:
                    await refusal(403, "Only this server's proxy may say who asks.")(scope, receive, send)
                    return
                if names:
                    session = self._session_of(names[0])
                    if session is None:
                        await refusal(403, "You may not log in here: server.yaml says who may.")(scope, receive, send)
                        return
                    scope[_SESSION] = session
        await self._app(scope, receive, send)

    def _is_the_proxy(self, scope: Scope, words: list[str]) -> bool:
        client = scope.get("client")
        is_there = client is not None and _address(client[0]) in self._addresses
        knows = len(words) == 1 and hmac.compare_digest(words[0].encode("utf-8", "surrogateescape"), self._secret)
        return is_there and knows

    def _session_of(self, said: str) -> Session | None:
        try:
            name = person_name(said)
        except PolicyError:
            return None
        role = self._section.role_of((name,))
        if role is None:
            return None
        return self._sessions.setdefault((role, name), Session(role, name))


def proxy_session(scope: Scope) -> Session | None:
    """Who asks, as the proxy says; None where it has said nothing."""
    session: Session | None = scope.get(_SESSION)
    return session


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return text
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
