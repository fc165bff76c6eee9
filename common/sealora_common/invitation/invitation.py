"""An invitation: what a site needs of the others in order to join, in one file that travels by mail.

It holds nothing secret and names no path. Whoever carries it may change it, and the server that wrote it may lie, so
nothing in it is taken on its word: the coordinator's key is the one whose fingerprint a person was read out, the roster
is signed by that key, and server, authority and recipe are signed by the server's key that the roster names. Before
there is a roster the signature is the invitation's own, and proves only that it came whole.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from cryptography import x509
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sealora_common import __version__
from sealora_common.canonical import canonical_json
from sealora_common.config import CONFIGURATION, LINE, SMALL, Name, from_json, read_file, why_not
from sealora_common.errors import PolicyError, RecipeError, UnreadableError
from sealora_common.identity import (
    Identity,
    PublicKeyText,
    SignatureText,
    key_fingerprint,
    key_from_text,
    key_pin,
    key_to_text,
    signature_from_text,
    signature_to_text,
    verify,
)
from sealora_common.network.address import server_url
from sealora_common.recipe import Recipe, parse_recipe
from sealora_common.roster import Roster
from sealora_common.storage.durable import write_atomically
from sealora_common.storage.file_version import require_version
from sealora_common.storage.own_files import PUBLIC_FILE

INVITATION_FILE: Final = "{site}.invitation.json"
"""What the file of a site is called."""
_SIGNED_AS = b"sealora invitation v1\n"
_VERSION = 1
_LONGEST_VERSION = 40
_LONGEST_URL = 300
_AGAIN = "ask the server's operator for it again"


def _is_server(value: str) -> str:
    if server_url(value) != value:
        raise ValueError("no address of a server as it is written: https://host:port")
    return value


def _is_authority(value: str) -> str:
    """Certificates in PEM form and nothing else: no private key, and no text beside them."""
    try:
        found = x509.load_pem_x509_certificates(value.encode())
    except ValueError:
        raise ValueError("no certificate in PEM form") from None
    blocks = value.count("-----BEGIN ")
    if blocks != len(found) or blocks != value.count("-----BEGIN CERTIFICATE-----"):
        raise ValueError("something else than certificates")
    return value


class Invitation(BaseModel):
    """What the server's operator hands to one site."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    version: Literal[1] = 1
    sealora: Annotated[str, Field(max_length=_LONGEST_VERSION, pattern=r"^[0-9][0-9A-Za-z.+-]*$")] = __version__
    """The version that wrote it, which the sites must have as well."""
    site: Name
    """Whom it is for."""
    server: Annotated[str, Field(max_length=_LONGEST_URL), AfterValidator(_is_server)]
    """The address of the server's front."""
    ca: Annotated[str, Field(max_length=SMALL.longest), AfterValidator(_is_authority)] | None = None
    """The authority that signs the server's certificate (PEM); None where sites trust a public one."""
    server_key: PublicKeyText
    """By which this is signed. It counts once a roster names it."""
    coordinator: PublicKeyText
    """Whose fingerprint the site's person is read out."""
    recipe: Annotated[str, Field(max_length=CONFIGURATION.longest)]
    """The recipe's text (YAML)."""
    recipe_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    roster: Roster | None = None
    """The signed roster, once the site is on it."""
    signature: SignatureText = ""

    @model_validator(mode="after")
    def _is_of_one_coordinator(self) -> Self:
        if self.roster is not None and self.roster.coordinator != self.coordinator:
            raise ValueError("the roster is another coordinator's than the one it names")
        return self

    @classmethod
    def create(
        cls,
        site: str,
        *,
        server: str,
        ca: str | None,
        coordinator: bytes,
        recipe: str,
        recipe_hash: str,
        roster: Roster | None,
        signer: Identity,
    ) -> Invitation:
        """An invitation signed by the server.

        Args:
            site: whom it is for.
            server: the front's URL.
            ca: the authority's certificates (PEM), or None.
            coordinator: the coordinator's 1984-byte public key.
            recipe: the recipe's text.
            recipe_hash: its hash, hex.
            roster: signed, with the site on it; None before.
            signer: the server's identity.
        """
        unsigned = cls(
            site=site,
            server=server,
            ca=ca,
            server_key=signer.public_key_text,
            coordinator=key_to_text(coordinator),
            recipe=recipe,
            recipe_hash=recipe_hash,
            roster=roster,
        )
        return unsigned.model_copy(update={"signature": signature_to_text(signer.sign(unsigned._signed_bytes()))})

    @classmethod
    def load(cls, path: Path) -> Invitation:
        """Reads an invitation whose recipe is the one that its hash says, and which came as it was signed.

        Raises:
            PolicyError: the file is missing, malformed, of another version, or was changed on its way.
        """
        try:
            content = read_file(path, LINE.longest)
        except FileNotFoundError:
            raise PolicyError(
                f"{path}: no such file: name the invitation that the server's operator sent, a file like "
                f"{INVITATION_FILE.format(site='NAME')}"
            ) from None
        except (OSError, UnreadableError) as error:
            raise PolicyError(f"{path}: the invitation cannot be read ({why_not(error)}): {_AGAIN}") from None
        require_version(path, content, _VERSION, "an invitation", _AGAIN)
        try:
            invitation = from_json(cls, content)
        except UnreadableError as error:
            raise PolicyError(f"{path}: not an invitation ({error}): {_AGAIN}") from None
        if invitation.sealora != __version__:
            raise PolicyError(
                f"{path}: written by Sealora {invitation.sealora}, and this is {__version__}: server and sites must "
                "have one version, so install that one here or ask the operator for yours"
            )
        if not invitation.is_signed:
            raise PolicyError(f"{path}: the invitation was changed after it was signed: do not use it, and {_AGAIN}")
        try:
            recipe = invitation.parsed_recipe
        except RecipeError as error:
            raise PolicyError(f"{path}: the recipe in it cannot be used ({error}): {_AGAIN}") from None
        if recipe.hash != invitation.recipe_hash:
            raise PolicyError(
                f"{path}: the recipe in it has another hash ({recipe.hash[:12]}) than it says "
                f"({invitation.recipe_hash[:12]}): {_AGAIN}"
            )
        if recipe.sites.simulated:
            raise PolicyError(f"{path}: the recipe in it names files of a simulation (sites.simulated): {_AGAIN}")
        return invitation

    def save(self, path: Path) -> None:
        """Writes it.

        Raises:
            StorageError: the file could not be written.
        """
        write_atomically(path, self.content, mode=PUBLIC_FILE)

    @property
    def content(self) -> bytes:
        """What is in its file."""
        return self.model_dump_json(indent=2, exclude_none=True).encode() + b"\n"

    @cached_property
    def parsed_recipe(self) -> Recipe:
        """The recipe in it.

        Raises:
            RecipeError: it is none.
        """
        return parse_recipe(self.recipe, where="recipe")

    @property
    def is_signed(self) -> bool:
        """Whether the holder of `server_key` signed it as it stands."""
        return verify(key_from_text(self.server_key), signature_from_text(self.signature), self._signed_bytes())

    @property
    def coordinator_pin(self) -> str:
        """What the site pins, see `key_pin`."""
        return key_pin(key_from_text(self.coordinator))

    @property
    def coordinator_fingerprint(self) -> str:
        """What the coordinator reads out."""
        return key_fingerprint(key_from_text(self.coordinator))

    def _signed_bytes(self) -> bytes:
        return _SIGNED_AS + canonical_json(self.model_dump(mode="json", exclude={"signature"}))
