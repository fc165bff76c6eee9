"""The keys with which Flower's nodes authenticate, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealora_common.identity.encoded_keys import public_key_from_openssh
from sealora_common.roster import Roster


@dataclass(frozen=True)
class NodeSession:
    """A node that is connected.

    Attributes:
        key: the public key (PEM) with which it authenticated.
        since: when it connected; a node that comes back has its old number and another time.
    """

    key: bytes
    since: str


@runtime_checkable
class KeyedGrid(Protocol):
    """A grid whose nodes have authenticated; that of a simulation has not."""

    def node_sessions(self) -> Mapping[int, NodeSession]:
        """The connected nodes, by number."""
        ...


def node_key_pem(node_key: str) -> bytes:
    """A node's public key as Flower keeps it (PEM), from the form on a site's card (OpenSSH).

    Raises:
        ValueError: it is none, or of a kind unknown here.
    """
    return public_key_from_openssh(node_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def sites_by_node_key(roster: Roster) -> dict[bytes, str]:
    """Node key (PEM) -> the name of the member whose it is."""
    return {node_key_pem(member.node_key): member.name for member in roster.members if member.node_key}
