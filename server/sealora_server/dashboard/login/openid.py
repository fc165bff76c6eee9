"""OpenID Connect (OpenID Connect Core 1.0, code flow with PKCE, RFC 7636): who somebody is, as a service tells it.

What the service sends is not believed because it was fetched from the right place alone: the ID token must be signed by
a key that the service publishes, by an asymmetric algorithm of ours, and name this issuer, this client, this login's
nonce and a time that has not passed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from sealora_common.config import Bounds, JsonValue, json_value
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.network.address import require_service_url
from sealora_server.dashboard.login.settings import OpenIdSection

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
"""By which ID tokens may be signed (RFC 7518, RFC 9864): no `none`, and nothing that a client's secret signs."""
LOGIN_SECONDS = 600
"""How long a person has at the service."""
_ANSWER = Bounds(longest=256 * 2**10, depth=16, nodes=20_000)
_SECONDS = 10.0
_LEEWAY_SECONDS = 60
_KEYS_SECONDS = 60.0
"""Keys are not asked for anew more often."""
_WELL_KNOWN = "/.well-known/openid-configuration"


@dataclass(frozen=True)
class Vouched:
    """What a service says of somebody, checked.

    Attributes:
        subject: who it is, by what never changes: the service's own name for them, and the service.
        claims: all that its ID token says.
    """

    subject: str
    claims: Mapping[str, JsonValue]

    def texts(self, claim: str) -> tuple[str, ...]:
        """The texts of a claim, which is one or a list of them; none if it is missing or something else."""
        value = self.claims.get(claim)
        found = value if isinstance(value, list) else [value]
        return tuple(each for each in found if isinstance(each, str))


@dataclass(frozen=True)
class _Endpoints:
    authorization: str
    token: str
    keys: str


class OpenIdService:
    """An institution's login service.

    A login that was begun is remembered by the browser alone, as a random value in a cookie: state, nonce and PKCE's
    verifier are made from it with a key of this process.

    Args:
        section: of server.yaml.
        secret: of this client; None for a public one.
        context: that trusts the service's certificate.
        clock: Unix seconds.
    """

    def __init__(
        self,
        section: OpenIdSection,
        secret: str | None,
        context: ssl.SSLContext,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._section = section
        self._secret = secret
        self._context = context
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._endpoints: _Endpoints | None = None
        self._keys: KeySet | None = None
        self._keys_asked = float("-inf")

    def begun(self) -> str:
        """The value of the cookie of a login that begins now."""
        return f"{int(self._clock())}.{secrets.token_urlsafe(32)}"

    async def page(self, begun: str, back: str) -> str:
        """Where the browser is sent, to come back to the URL `back`.

        Raises:
            PolicyError: the service cannot be asked.
        """
        endpoints = await self._found()
        url: str = prepare_grant_uri(
            endpoints.authorization,
            self._section.client_id,
            "code",
            redirect_uri=back,
            scope=self._section.scope,
            state=self._made("state", begun),
            nonce=self._made("nonce", begun),
            code_challenge=create_s256_code_challenge(self._made("verifier", begun)),
            code_challenge_method="S256",
        )
        return url

    async def came_back(self, begun: str, back: str, query: Mapping[str, str]) -> Vouched:
        """Who has come back from the service.

        Args:
            begun: the cookie's value.
            back: as it was given to `page`.
            query: what the service has sent with them.

        Raises:
            PolicyError: it is not the login that this browser began, or what the service says does not hold.
        """
        age = self._clock() - _moment(begun)
        known = hmac.compare_digest(query.get("state", "").encode(), self._made("state", begun).encode())
        if not known or not 0 <= age <= LOGIN_SECONDS:
            raise PolicyError("this login was not begun here, or too long ago: begin it again")
        if query.get("iss", self._section.issuer) != self._section.issuer:  # RFC 9207
            raise PolicyError("another login service than this server's has answered: begin the login again")
        if "code" not in query:
            raise PolicyError("the login service has not let you in: begin the login again, or ask who runs it")
        token = await self._id_token(query["code"], back, self._made("verifier", begun))
        return await self._checked(token, self._made("nonce", begun))

    async def _id_token(self, code: str, back: str, verifier: str) -> str:
        endpoints = await self._found()
        public = {"client_id": self._section.client_id} if self._secret is None else {}
        body = prepare_token_request(
            "authorization_code", code=code, redirect_uri=back, code_verifier=verifier, **public
        )
        answer = await self._asked(endpoints.token, dict(parse_qsl(body)))
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise PolicyError("the login service has sent no ID token: ask who runs it")
        return token

    async def _checked(self, token: str, nonce: str) -> Vouched:
        section = self._section
        try:
            decoded = await self._decoded(token)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                {
                    "iss": {"essential": True, "value": section.issuer},
                    "aud": {"essential": True, "value": section.client_id},
                    "sub": {"essential": True},
                },
                {"nonce": nonce, "client_id": section.client_id},
            )
            claims.validate(now=int(self._clock()), leeway=_LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise PolicyError(
                f"what the login service says of you does not hold ({_reason(error)}): begin the login again, or ask "
                "who runs it"
            ) from None
        subject = claims["sub"]
        if not isinstance(subject, str):
            raise PolicyError("the login service does not say who you are: ask who runs it")
        return Vouched(f"{subject} of {section.issuer}", dict(claims))

    async def _decoded(self, token: str) -> jwt.Token:
        """A token whose signature holds; keys that the service has replaced are asked for anew."""
        try:
            return jwt.decode(token, await self._published(), algorithms=ALGORITHMS)
        except InvalidKeyIdError:
            if self._clock() - self._keys_asked < _KEYS_SECONDS:
                raise
            self._keys = None
            return jwt.decode(token, await self._published(), algorithms=ALGORITHMS)

    async def _published(self) -> KeySet:
        if self._keys is None:
            endpoints = await self._found()
            self._keys_asked = self._clock()
            self._keys = KeySet.import_key_set(await self._asked(endpoints.keys))  # type: ignore[arg-type]
        return self._keys

    async def _found(self) -> _Endpoints:
        if self._endpoints is None:
            issuer = self._section.issuer
            told = await self._asked(issuer.rstrip("/") + _WELL_KNOWN)
            if told.get("issuer") != issuer:
                raise PolicyError(f"the login service calls itself another issuer than {issuer}: correct `openid`")
            names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            self._endpoints = _Endpoints(*(_url(told, name) for name in names))
        return self._endpoints

    async def _asked(self, url: str, form: Mapping[str, str] | None = None) -> dict[str, JsonValue]:
        """What the service answers, a JSON object of bounded size."""
        auth = None
        if form is not None and self._secret is not None:
            auth = httpx.BasicAuth(self._section.client_id, self._secret)
        try:
            async with (
                asyncio.timeout(2 * _SECONDS),
                httpx.AsyncClient(verify=self._context, timeout=_SECONDS, trust_env=False, auth=auth) as client,
                client.stream("GET" if form is None else "POST", url, data=form) as answer,
            ):
                content = bytearray()
                async for piece in answer.aiter_bytes():
                    content += piece
                    if len(content) > _ANSWER.longest:
                        raise UnreadableError("its answer is too long")
                if answer.status_code != httpx.codes.OK:
                    raise UnreadableError(f"its answer is {answer.status_code}")
            value = json_value(bytes(content), _ANSWER)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise PolicyError(f"the login service cannot be asked ({type(error).__name__}): try again later") from None
        except UnreadableError as error:
            raise PolicyError(f"the login service cannot be asked ({error}): try again later") from None
        if not isinstance(value, dict):
            raise PolicyError("the login service's answer is no JSON object: ask who runs it")
        return value

    def _made(self, what: str, begun: str) -> str:
        return hmac.new(self._key, f"{what} {begun}".encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def _moment(begun: str) -> float:
    moment = begun.partition(".")[0]
    return float(moment) if moment.isascii() and moment.isdecimal() and len(moment) < 16 else float("-inf")


def _url(told: dict[str, JsonValue], name: str) -> str:
    url = told.get(name)
    try:
        if not isinstance(url, str):
            raise ValueError("missing")
        require_service_url(url.partition("?")[0])
    except ValueError as error:
        raise PolicyError(f"the login service's {name} cannot be used ({error}): ask who runs it") from None
    return url


def _reason(error: Exception) -> str:
    """Why a token was refused, without anything that is in it."""
    claim = getattr(error, "claim", None)
    return f"its {claim}" if isinstance(claim, str) and claim.isidentifier() else type(error).__name__
