"""A member of a roster: one site and its keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from sealora_common.config import Name
from sealora_common.identity import PublicKeyText, key_fingerprint, key_from_text, key_parts
from sealora_common.identity.card import NodeKeyText


class Member(BaseModel):
    """One site: its name, its public key (base64), and its Flower node's P-384 key (OpenSSH) if it has one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    public_key: PublicKeyText
    node_key: NodeKeyText | None = None

    @property
    def fingerprint(self) -> str:
        """Of the public key, to be compared with the site by telephone."""
        return key_fingerprint(key_from_text(self.public_key))

    @property
    def key_parts(self) -> tuple[bytes | str, ...]:
        """Each of its keys, and each part of its public key: what no other member may have."""
        parts = key_parts(key_from_text(self.public_key))
        return parts if self.node_key is None else (*parts, self.node_key)
