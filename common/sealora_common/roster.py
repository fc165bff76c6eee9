"""The roster: which sites form the federation, by public key, signed by the consortium's coordinator.

Sites pin the coordinator's public key and the roster's hash, so the server cannot add a site of its own.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sealora_common.canonical import canonical_json
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity, verify

_SIGNED_AS = b"sealora roster v1\n"
HexKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Member(BaseModel):
    """One site: its name and its Ed25519 public key (hex)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    public_key: HexKey


class Roster(BaseModel):
    """The members in the order of their names; a site's place in it is its index in the sealing protocol."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    consortium: str
    members: tuple[Member, ...] = Field(min_length=2, max_length=1000)
    coordinator: HexKey
    signature: str = Field(default="", pattern=r"^([0-9a-f]{128})?$")

    @model_validator(mode="after")
    def _members_are_distinct_and_sorted(self) -> Roster:
        names = [member.name for member in self.members]
        if names != sorted(set(names)):
            raise ValueError("members must have distinct names, in order")
        if len({member.public_key for member in self.members}) != len(self.members):
            raise ValueError("two members share a public key")
        return self

    @classmethod
    def create(cls, consortium: str, sites: dict[str, bytes], coordinator: Identity) -> Roster:
        """A roster of `sites` (name -> 32-byte public key), signed by `coordinator`."""
        members = tuple(Member(name=name, public_key=key.hex()) for name, key in sorted(sites.items()))
        unsigned = cls(consortium=consortium, members=members, coordinator=coordinator.public_key.hex())
        signature = coordinator.sign(_SIGNED_AS + unsigned._signed_bytes())
        return unsigned.model_copy(update={"signature": signature.hex()})

    @classmethod
    def load(cls, path: Path) -> Roster:
        """Reads a roster and checks the coordinator's signature.

        Raises:
            PolicyError: the file is missing, malformed, or its signature does not hold.
        """
        try:
            roster = cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise PolicyError(
                f"{path}: the roster cannot be read ({error.strerror}): ask the coordinator for it"
            ) from None
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise PolicyError(f"{path}: not a roster ({reason}): ask the coordinator for it") from None
        if not roster.is_signed:
            raise PolicyError(f"{path}: the coordinator's signature does not hold: do not use this roster")
        return roster

    @property
    def is_signed(self) -> bool:
        """Whether the coordinator's signature holds."""
        signature = bytes.fromhex(self.signature)
        return verify(bytes.fromhex(self.coordinator), signature, _SIGNED_AS + self._signed_bytes())

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 (32 bytes) of all but the signature."""
        return hashlib.sha256(self._signed_bytes()).digest()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The members' names; their positions are the sites' indices."""
        return tuple(member.name for member in self.members)

    def index(self, name: str) -> int:
        """The index of the site called `name`.

        Raises:
            PolicyError: no such site is on the roster.
        """
        if name not in self.names:
            raise PolicyError(f"site {name!r} is not on the roster: ask the coordinator to add it")
        return self.names.index(name)

    def public_key(self, index: int) -> bytes:
        """The 32-byte public key of the site with this index."""
        return bytes.fromhex(self.members[index].public_key)

    def __len__(self) -> int:
        return len(self.members)

    def _signed_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}))
