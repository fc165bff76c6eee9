"""The part of `server.yaml` that says who logs in at the dashboard."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sealora_common.network.address import require_service_url
from sealora_common.web.sessions import Role

_Names = Annotated[tuple[str, ...], Field(max_length=10_000)]


class LoginSection(BaseModel):
    """Base of the sections: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class RolesSection(LoginSection):
    """Who of those that somebody else vouches for may do what; whoever is not named is not let in."""

    operators: _Names = ()
    """Who may do what an operator may."""
    readers: _Names = ()
    """Who may look."""

    def role_of(self, names: Collection[str]) -> Role | None:
        """What somebody may do who has these names; None: nothing."""
        if not set(names).isdisjoint(self.operators):
            return Role.OPERATOR
        return None if set(names).isdisjoint(self.readers) else Role.READER


class ProxySection(RolesSection):
    """A reverse proxy that has made sure of who asks, and says so in a header. By the names that it gives."""

    addresses: Annotated[tuple[str, ...], Field(min_length=1)]
    """The proxy's own, from which its connections come. The header is refused from all others."""
    header: str = Field(default="X-Forwarded-User", pattern=r"^[A-Za-z][A-Za-z\-0-9]{0,63}$")
    """Holds the person's name. The proxy must take it away from what it is sent, and put in its own."""
    secret: Path
    """A file whose content the proxy sends with each request in `Sealora-Proxy-Proof`: other accounts of its machine
    have its address, too."""

    @field_validator("addresses")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                ipaddress.ip_address(each)
            except ValueError:
                raise ValueError(f"{each!r} is no address, such as 10.0.0.7") from None
        return value


class OpenIdSection(RolesSection):
    """An institution's own login service, by OpenID Connect (needs the extra `oidc`)."""

    issuer: str
    """Its URL, as its ID tokens name it; `/.well-known/openid-configuration` is asked below it."""
    client_id: str = Field(min_length=1, max_length=500)
    """What the service knows this server by. `https://HOST/login/openid/back` is to be registered there."""
    client_secret: Path | None = None
    """A file that holds the client's secret; null: a public client."""
    scope: str = "openid profile"
    """What is asked for."""
    name_claim: str = "sub"
    """The claim that is a person's name here. It must be one that persons cannot change themselves: another one than
    `sub` is so only where the service sees to it."""
    role_claim: str | None = None
    """The claim, a text or a list of texts, whose values `operators` and `readers` name; null: they name persons."""
    ca: Path | None = None
    """The authority of the service's certificate (PEM); null: the machine's."""

    @field_validator("issuer")
    @classmethod
    def _is_a_url(cls, value: str) -> str:
        require_service_url(value)
        return value

    @field_validator("scope")
    @classmethod
    def _has_openid(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("`openid` is missing in it")
        return value
