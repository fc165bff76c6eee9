"""The roster: which sites and which server form the federation, by public key, signed by its coordinator.

Sites pin the coordinator's key and take part only with the sites of the roster that it signed, so the server can
neither add a site of its own nor put itself in another's place.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sealora_common.canonical import canonical_json
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity, verify
from sealora_common.storage import write_atomically

_SIGNED_AS = b"sealora roster v1\n"
HexKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Member(BaseModel):
    """One site: its name, its Ed25519 public key (hex), and its Flower node's P-384 key (OpenSSH) if it has one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    public_key: HexKey
    node_key: str | None = None


class Roster(BaseModel):
    """The members in the order of their names; a site's place in it is its index in the sealing protocol."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    consortium: str
    coordinator: HexKey
    server: HexKey | None = None
    """Ed25519 key of the server, which signs the receipts."""
    members: tuple[Member, ...] = Field(default=(), max_length=1000)
    signature: str = Field(default="", pattern=r"^([0-9a-f]{128})?$")

    @model_validator(mode="after")
    def _members_are_distinct_and_sorted(self) -> Self:
        names = [member.name for member in self.members]
        if names != sorted(set(names)):
            raise ValueError("members must have distinct names, in order")
        if len({member.public_key for member in self.members}) != len(self.members):
            raise ValueError("two members share a public key")
        return self

    @classmethod
    def create(
        cls, consortium: str, sites: dict[str, bytes], coordinator: Identity, server: bytes | None = None
    ) -> Roster:
        """A roster of `sites` (name -> 32-byte public key) and the server's key, signed by `coordinator`."""
        members = tuple(Member(name=name, public_key=key.hex()) for name, key in sorted(sites.items()))
        unsigned = cls(
            consortium=consortium,
            members=members,
            coordinator=coordinator.public_key.hex(),
            server=server.hex() if server else None,
        )
        return unsigned.signed(coordinator)

    @classmethod
    def load(cls, path: Path, *, coordinator: str | None = None, draft: bool = False) -> Roster:
        """Reads a roster and checks the coordinator's signature.

        Args:
            path: the file.
            coordinator: the pinned public key (hex) that must have signed it; None takes the file's word for it.
            draft: whether an unsigned roster will do.

        Raises:
            PolicyError: the file is missing or malformed, its signature does not hold, or another key made it.
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
        if not draft and not roster.is_signed:
            raise PolicyError(f"{path}: the coordinator's signature does not hold: do not use this roster")
        if coordinator is not None and roster.coordinator != coordinator:
            raise PolicyError(f"{path}: signed by another coordinator than the one pinned here: do not use this roster")
        return roster

    def save(self, path: Path) -> None:
        """Writes the roster.

        Raises:
            StorageError: the file could not be written.
        """
        write_atomically(path, self.model_dump_json(indent=2, exclude_none=True).encode() + b"\n")

    def with_member(self, member: Member) -> Roster:
        """An unsigned copy with `member` in place of any of its name.

        Raises:
            PolicyError: another member has the same key.
        """
        kept = [other for other in self.members if other.name != member.name]
        if any(other.public_key == member.public_key for other in kept):
            raise PolicyError(
                f"the key of {member.name!r} is another member's already: ask the site for a card of its own"
            )
        members = tuple(sorted([*kept, member], key=lambda each: each.name))
        return self.model_copy(update={"members": members, "signature": ""})

    def without_member(self, name: str) -> Roster:
        """An unsigned copy without the site called `name`.

        Raises:
            PolicyError: there is no such site.
        """
        self.index(name)
        members = tuple(member for member in self.members if member.name != name)
        return self.model_copy(update={"members": members, "signature": ""})

    def subset(self, names: Iterable[str]) -> Roster:
        """An unsigned roster of the members with these names alone: a group of a round, see `groups`.

        Raises:
            PolicyError: one of them is not on the roster.
        """
        kept = tuple(self.members[index] for index in sorted(map(self.index, names)))
        return self.model_copy(update={"members": kept, "signature": ""})

    def signed(self, coordinator: Identity) -> Roster:
        """A copy signed by `coordinator`.

        Raises:
            PolicyError: the roster is another coordinator's.
        """
        if coordinator.public_key.hex() != self.coordinator:
            raise PolicyError("this key is not the roster's coordinator's: sign it with the key it was created with")
        signature = coordinator.sign(_SIGNED_AS + self._signed_bytes())
        return self.model_copy(update={"signature": signature.hex()})

    @property
    def is_signed(self) -> bool:
        """Whether the coordinator's signature holds."""
        signature = bytes.fromhex(self.signature)
        return verify(bytes.fromhex(self.coordinator), signature, _SIGNED_AS + self._signed_bytes())

    @property
    def hash(self) -> bytes:
        """SHA-256 (32 bytes) of all but the signature."""
        return hashlib.sha256(self._signed_bytes()).digest()

    @property
    def fingerprint(self) -> str:
        """The first 100 bits of the hash for people to read out, in base 32 (RFC 4648): XXXXX-XXXXX-XXXXX-XXXXX."""
        text = base64.b32encode(self.hash).decode()[:20]
        return "-".join(text[start : start + 5] for start in range(0, 20, 5))

    @property
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
