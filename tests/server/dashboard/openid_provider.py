"""A login service, as OpenID Connect Core 1.0 has it, over real HTTP on this machine, that does wrong where told to."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jws
from joserfc.jwk import KeySet, RSAKey

CLIENT, SECRET = "sealora", "a-secret-of-this-client"


@functools.cache
def key_of(kid: str) -> RSAKey:
    """A key by which tokens are signed; it takes a moment to make, so the tests share it."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


class OpenIdProvider:
    """The service, while it is entered.

    Attributes:
        person: claims of whoever logs in next; None: the login is refused there.
        change: makes of an ID token's claims the ones that are sent.
        sign: makes of them the token.
        asked: paths that were asked.
    """

    def __init__(self) -> None:
        self.key = key_of("one")
        self.published = [self.key]
        self.person: dict[str, Any] | None = {"sub": "anna"}
        self.change: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
        self.sign: Callable[[dict[str, Any]], str] = self.signed
        self.metadata: dict[str, Any] = {}
        self.answers: dict[str, bytes] = {}
        self.returned: dict[str, str] = {}
        """Sent back to the client with the code, besides and instead of what is right."""
        self.asked: list[str] = []
        self.problems: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.issuer = f"http://127.0.0.1:{self._server.server_port}/realm"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def signed(self, claims: dict[str, Any], key: RSAKey | None = None) -> str:
        """A token by RS256."""
        used = key or self.key
        header = {"alg": "RS256", "kid": used.kid}
        return jws.serialize_compact(header, json.dumps(claims), used)

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser goes from here."""
        for name, wanted in (("response_type", "code"), ("client_id", CLIENT), ("code_challenge_method", "S256")):
            if query.get(name) != wanted:
                self.problems.append(f"{name} is {query.get(name)!r}")
        if "openid" not in query.get("scope", "").split() or not query.get("state") or not query.get("nonce"):
            self.problems.append("no scope, state or nonce")
        code = secrets.token_hex(16)
        self._codes[code] = query
        given = {"error": "access_denied"} if self.person is None else {"code": code, "iss": self.issuer}
        return f"{query['redirect_uri']}?{urlencode({**given, 'state': query['state'], **self.returned})}"

    def token(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """What a code is exchanged for; None: it is refused."""
        begun = self._codes.pop(form.get("code", ""), None)
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if begun is None or authorization != f"Basic {basic}":
            return None
        challenge = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(challenge).rstrip(b"=").decode() != begun["code_challenge"]:
            return None
        if form.get("redirect_uri") != begun["redirect_uri"]:
            return None
        now = int(time.time())
        times = {"iat": now, "exp": now + 300}
        claims = {"iss": self.issuer, "aud": CLIENT, "nonce": begun["nonce"], **times, **(self.person or {})}
        return {"access_token": "x", "token_type": "Bearer", "id_token": self.sign(self.change(claims))}

    def answer(self, path: str) -> bytes | None:
        """What is published under a path."""
        if path in self.answers:
            return self.answers[path]
        if path == "/realm/.well-known/openid-configuration":
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            urls = {name: f"{self.issuer}/{end}" for name, end in names.items()}
            return json.dumps({"issuer": self.issuer, **urls, **self.metadata}).encode()
        if path == "/realm/keys":
            return json.dumps(KeySet(self.published).as_dict(private=False)).encode()
        return None


def _handler(provider: OpenIdProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            provider.asked.append(parts.path)
            if parts.path == "/realm/authorize":
                self.send_response(302)
                self.send_header("Location", provider.authorize(_first(parts.query)))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._say(provider.answer(parts.path))

        def do_POST(self) -> None:
            provider.asked.append(self.path)
            form = _first(self.rfile.read(int(self.headers["Content-Length"])).decode())
            said = provider.token(form, self.headers.get("Authorization", ""))
            self._say(None if said is None else json.dumps(said).encode())

        def _say(self, content: bytes | None) -> None:
            self.send_response(400 if content is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *args: object) -> None:
            pass

    return Handler


def _first(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
