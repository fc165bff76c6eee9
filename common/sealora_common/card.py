"""A site card: a site's name and public keys, signed by the site. It goes to the coordinator; the keys stay."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat, load_ssh_public_key
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sealora_common.canonical import canonical_json
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity, encryption, verify
from sealora_common.storage import write_atomically

_SIGNED_AS = b"sealora site card v1\n"
_NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"


class SiteCard(BaseModel):
    """What a site hands to the coordinator. Nothing on it is secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    name: Annotated[str, Field(pattern=_NAME)]
    public_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Ed25519, hex: signs the site's part in every round."""
    node_key: str
    """P-384, OpenSSH form: what Flower's node authentication asks for."""
    signature: Annotated[str, Field(pattern=r"^([0-9a-f]{128})?$")] = ""

    @field_validator("node_key")
    @classmethod
    def _is_p384(cls, value: str) -> str:
        try:
            key = load_ssh_public_key(value.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("not an OpenSSH public key") from None
        if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
            raise ValueError("not a P-384 key")
        return value

    @classmethod
    def create(cls, identity: Identity, node_key: str) -> SiteCard:
        """The card of the site with this identity, signed by it."""
        unsigned = cls(name=identity.name, public_key=identity.public_key.hex(), node_key=node_key)
        signature = identity.sign(_SIGNED_AS + unsigned._signed_bytes())
        return unsigned.model_copy(update={"signature": signature.hex()})

    @classmethod
    def load(cls, path: Path) -> SiteCard:
        """Reads a card and checks that the site itself signed it.

        Raises:
            PolicyError: the file is missing, malformed, or not signed by the key on it.
        """
        try:
            card = cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise PolicyError(f"{path}: the site card cannot be read ({error.strerror}): ask the site for it") from None
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in problem["loc"]) or "card"
            raise PolicyError(f"{path}: not a site card ({field}: {problem['msg']}): ask the site for it") from None
        signature = bytes.fromhex(card.signature)
        if not verify(bytes.fromhex(card.public_key), signature, _SIGNED_AS + card._signed_bytes()):
            raise PolicyError(f"{path}: the card is not signed by its own key: ask the site for it again")
        return card

    def _signed_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}))


def check_name(name: str) -> None:
    """Refuses a name that no card can bear.

    Raises:
        PolicyError: it is none.
    """
    if not re.fullmatch(_NAME, name):
        raise PolicyError(
            f"{name!r} is no name for a site: take up to 63 lower-case letters, digits and dashes, no dash first"
        )


def create_node_key(path: Path, passphrase: bytes | None = None) -> str:
    """Makes the P-384 key of a site's Flower node at `path`, mode 0600, in OpenSSH form.

    Returns:
        The public half in OpenSSH form.

    Raises:
        StorageError: the file could not be written.
    """
    private = generate_private_key(SECP384R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption(passphrase))
    write_atomically(path, pem, mode=0o600)
    return private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
