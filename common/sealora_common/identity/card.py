"""A site card: a site's name and public keys, signed by the site. It goes to the coordinator; the keys stay."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat
from pydantic import AfterValidator, BaseModel, ConfigDict

from sealora_common.canonical import canonical_json
from sealora_common.config import NAME_PATTERN, SMALL, Name, from_json, read_file
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.identity import (
    Identity,
    PublicKeyText,
    SignatureText,
    encryption,
    key_fingerprint,
    key_from_text,
    signature_from_text,
    signature_to_text,
    verify,
)
from sealora_common.identity.encoded_keys import public_key_from_openssh
from sealora_common.storage.durable import write_atomically
from sealora_common.storage.file_version import require_version

_SIGNED_AS = b"sealora site card v2\n"
_VERSION = 2


def _is_p384(value: str) -> str:
    try:
        key = public_key_from_openssh(value)
    except ValueError:
        raise ValueError("not an OpenSSH public key") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        raise ValueError("not a P-384 key")
    if key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() != value:
        raise ValueError("not in canonical form: nothing may follow the key")
    return value


NodeKeyText = Annotated[str, AfterValidator(_is_p384)]
"""A field that holds the P-384 key of a Flower node in OpenSSH form: in the one form that it has, without comment."""


class SiteCard(BaseModel):
    """What a site hands to the coordinator. Nothing on it is secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[2] = 2
    name: Name
    public_key: PublicKeyText
    """Ed25519 and ML-DSA-65, base64: signs the site's part in every round."""
    node_key: NodeKeyText
    """P-384, OpenSSH form: what Flower's node authentication asks for."""
    signature: SignatureText = ""

    @classmethod
    def create(cls, identity: Identity, node_key: str) -> SiteCard:
        """The card of the site with this identity, signed by it."""
        unsigned = cls(name=identity.name, public_key=identity.public_key_text, node_key=node_key)
        signature = identity.sign(_SIGNED_AS + unsigned._signed_bytes())
        return unsigned.model_copy(update={"signature": signature_to_text(signature)})

    @classmethod
    def load(cls, path: Path) -> SiteCard:
        """Reads a card and checks that the site itself signed it.

        Raises:
            PolicyError: the file is missing, malformed, of another version, or not signed by the key on it.
        """
        try:
            content = read_file(path, SMALL.longest)
            require_version(path, content, _VERSION, "a site card", "have the site enrol anew and send its new card")
            card = from_json(cls, content, SMALL)
        except OSError as error:
            raise PolicyError(f"{path}: the site card cannot be read ({error.strerror}): ask the site for it") from None
        except UnreadableError as error:
            raise PolicyError(f"{path}: not a site card ({error}): ask the site for it") from None
        signature = signature_from_text(card.signature)
        if not verify(key_from_text(card.public_key), signature, _SIGNED_AS + card._signed_bytes()):
            raise PolicyError(f"{path}: the card is not signed by its own key: ask the site for it again")
        return card

    @property
    def fingerprint(self) -> str:
        """Of the public key, for site and coordinator to compare by telephone."""
        return key_fingerprint(key_from_text(self.public_key))

    def _signed_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}))


def check_name(name: str) -> None:
    """Refuses a name that no card can bear.

    Raises:
        PolicyError: it is none.
    """
    if not re.fullmatch(NAME_PATTERN, name):
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
