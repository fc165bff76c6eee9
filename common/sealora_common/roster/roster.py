"""The roster: which sites and which server form the federation, by public key, signed by its coordinator.

Sites pin the coordinator's key and take part only with the sites of the roster that it signed, so the server can
neither add a site of its own nor put itself in another's place. Rosters are numbered and chained, and expire
(`succession`), and members co-sign them (`cosignature`), so that the coordinator cannot
show two sites two different ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from sealora_common.canonical import canonical_json
from sealora_common.config import LINE, from_json, read_file, why_not
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.identity import (
    Identity,
    PublicKeyText,
    SignatureText,
    key_from_text,
    key_pin,
    key_to_text,
    short_form,
    signature_from_text,
    signature_to_text,
    verify,
)
from sealora_common.roster.cosignature import Cosignature
from sealora_common.roster.member import Member
from sealora_common.show.safe_text import safe_text
from sealora_common.storage.durable import write_atomically
from sealora_common.storage.file_version import require_version
from sealora_common.storage.own_files import PUBLIC_FILE

_SIGNED_AS = b"sealora roster v2\n"
_VERSION = 2
_TIME = "%Y-%m-%dT%H:%M:%SZ"
GENESIS = "0" * 64
"""What the first roster names as the one before."""
LONGEST_NAME = 200
"""Characters of a consortium's name."""
TERM = timedelta(days=365)
"""How long a roster can be used once signed, unless its coordinator says otherwise."""


def _is_time(value: str) -> str:
    if datetime.strptime(value, _TIME).strftime(_TIME) != value:
        raise ValueError("not a date and time in UTC like 2027-01-31T12:00:00Z")
    return value


def _is_shown(value: str) -> str:
    if safe_text(value) != value:
        raise ValueError("has characters that cannot be shown, or several lines")
    return value


Consortium = Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(_is_shown)]
"""A federation's name: one line that people can be shown as it is."""


def check_consortium(name: str) -> None:
    """Refuses a name that no roster can bear.

    Raises:
        PolicyError: it is none.
    """
    try:
        TypeAdapter(Consortium).validate_python(name)
    except ValidationError:
        raise PolicyError(
            f"{name!r} is no name for a consortium: take one line of up to {LONGEST_NAME} characters that can be shown"
        ) from None


class Roster(BaseModel):
    """The members in the order of their names; a site's place in it is its index in the sealing protocol."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    version: Literal[2] = 2
    consortium: Consortium
    sequence: int = Field(default=1, ge=1, lt=2**32)
    """1 for the first roster of a coordinator's, one more for each that follows."""
    previous: str = Field(default=GENESIS, pattern=r"^[0-9a-f]{64}$")
    """Hash (hex) of the roster before, or `GENESIS`."""
    expires: Annotated[str, AfterValidator(_is_time)] | None = None
    """When its use ends, UTC; None before it is signed."""
    coordinator: PublicKeyText
    server: PublicKeyText | None = None
    """Key of the server, which signs the receipts."""
    members: tuple[Member, ...] = Field(default=(), max_length=1000)
    signature: SignatureText = ""
    cosignatures: tuple[Cosignature, ...] = Field(default=(), max_length=1000)
    """By members, in the order of their names. No part of the hash: they are made over it."""

    @model_validator(mode="after")
    def _members_are_distinct_and_sorted(self) -> Self:
        names = [member.name for member in self.members]
        if names != sorted(set(names)):
            raise ValueError("members must have distinct names, in order")
        parts = [part for member in self.members for part in member.key_parts]
        if len(set(parts)) != len(parts):
            raise ValueError("two members share a public key, or a part of one")
        signers = [each.member for each in self.cosignatures]
        if signers != sorted(set(signers)):
            raise ValueError("co-signatures must be of distinct members, in order")
        if (self.sequence == 1) != (self.previous == GENESIS):
            raise ValueError("the first roster, and no other, follows none")
        return self

    @classmethod
    def create(
        cls,
        consortium: str,
        sites: dict[str, bytes],
        coordinator: Identity,
        server: bytes | None = None,
        *,
        at: datetime | None = None,
        term: timedelta = TERM,
    ) -> Roster:
        """A first roster of `sites` (name -> 1984-byte public key) and the server's key, signed by `coordinator`."""
        members = tuple(Member(name=name, public_key=key_to_text(key)) for name, key in sorted(sites.items()))
        unsigned = cls(
            consortium=consortium,
            members=members,
            coordinator=coordinator.public_key_text,
            server=key_to_text(server) if server else None,
        )
        return unsigned.signed(coordinator, at=at, term=term)

    @classmethod
    def load(cls, path: Path, *, coordinator: str | None = None, draft: bool = False) -> Roster:
        """Reads a roster and checks the coordinator's signature. Whether it has expired is another question.

        Args:
            path: the file.
            coordinator: the pin (`key_pin`) of the key that must have signed it; None takes the file's word for it.
            draft: whether an unsigned roster will do.

        Raises:
            PolicyError: the file is missing, malformed or of another version, its signature does not hold, or another
                key made it.
        """
        try:
            content = read_file(path, LINE.longest)
        except (OSError, UnreadableError) as error:
            raise PolicyError(
                f"{path}: the roster cannot be read ({why_not(error)}): ask the coordinator for it"
            ) from None
        remedy = "have the coordinator create a new one, with new cards of all sites"
        require_version(path, content, _VERSION, "a roster", remedy)
        try:
            roster = from_json(cls, content)
        except UnreadableError as error:
            raise PolicyError(f"{path}: not a roster ({error}): ask the coordinator for it") from None
        if not draft and not roster.is_signed:
            raise PolicyError(f"{path}: the coordinator's signature does not hold: do not use this roster")
        if coordinator is not None and roster.coordinator_pin != coordinator:
            raise PolicyError(f"{path}: signed by another coordinator than the one pinned here: do not use this roster")
        return roster

    def save(self, path: Path) -> None:
        """Writes the roster.

        Raises:
            StorageError: the file could not be written.
        """
        write_atomically(path, self.model_dump_json(indent=2, exclude_none=True).encode() + b"\n", mode=PUBLIC_FILE)

    def draft(self, members: tuple[Member, ...] | None = None) -> Roster:
        """An unsigned copy: this roster's successor, or, if it is unsigned itself, the same number.

        Args:
            members: of the copy; None: the same.

        Raises:
            PolicyError: somebody changed this roster after it was signed, so nothing can follow it.
        """
        if self.signature and not self.is_signed:
            raise PolicyError(
                "the roster was changed after it was signed, so nothing can follow it: put the signed file back, and "
                "change it by `sealora roster add` and `remove` alone"
            )
        follows = {"sequence": self.sequence + 1, "previous": self.hash.hex()} if self.signature else {}
        unsigned = {"expires": None, "signature": "", "cosignatures": ()}
        changed = {} if members is None else {"members": members}
        return self.model_copy(update={**follows, **unsigned, **changed})

    def with_member(self, member: Member) -> Roster:
        """An unsigned copy with `member` in place of any of its name, see `draft`.

        Raises:
            PolicyError: another member has the same key, or a part of it; or see `draft`.
        """
        kept = [other for other in self.members if other.name != member.name]
        for other in kept:
            if set(other.key_parts) & set(member.key_parts):
                raise PolicyError(
                    f"the key of {member.name!r}, or a part of it, is another member's already ({other.name!r}): ask "
                    "the site for a card of its own"
                )
        return self.draft(members=tuple(sorted([*kept, member], key=lambda each: each.name)))

    def without_member(self, name: str) -> Roster:
        """An unsigned copy without the site called `name`, see `draft`.

        Raises:
            PolicyError: there is no such site; or see `draft`.
        """
        self.index(name)
        return self.draft(members=tuple(member for member in self.members if member.name != name))

    def subset(self, names: Iterable[str]) -> Roster:
        """An unsigned roster of the members with these names alone: a group of a round, see `groups`.

        Raises:
            PolicyError: one of them is not on the roster.
        """
        kept = tuple(self.members[index] for index in sorted(map(self.index, names)))
        return self.model_copy(update={"members": kept, "signature": "", "cosignatures": ()})

    def signed(self, coordinator: Identity, *, at: datetime | None = None, term: timedelta = TERM) -> Roster:
        """A copy signed by `coordinator` as it stands, under the number that it has, see `draft`.

        Args:
            coordinator: whose roster it is.
            at: the time of signing; None is now.
            term: how long it can be used from then on.

        Raises:
            PolicyError: the roster is another coordinator's.
        """
        if coordinator.public_key_text != self.coordinator:
            raise PolicyError("this key is not the roster's coordinator's: sign it with the key it was created with")
        expires = ((at or datetime.now(UTC)) + term).astimezone(UTC).strftime(_TIME)
        unsigned = self.model_copy(update={"expires": expires, "cosignatures": ()})
        signature = coordinator.sign(_SIGNED_AS + unsigned._signed_bytes())
        return unsigned.model_copy(update={"signature": signature_to_text(signature)})

    def with_cosignatures(self, cosignatures: Iterable[Cosignature]) -> Roster:
        """A copy with members' co-signatures merged in.

        Raises:
            PolicyError: one is of another roster, of no member's, or does not hold.
        """
        merged = {each.member: each for each in self.cosignatures}
        this = (self.sequence, self.hash.hex())
        for each in cosignatures:
            key = self.public_key(self.index(each.member))
            if (each.sequence, each.roster_hash) != this:
                raise PolicyError(
                    f"the co-signature of {each.member!r} is of another roster (number {each.sequence}, "
                    f"{each.roster_hash[:12]}): send it this one, number {self.sequence}, and compare fingerprints"
                )
            if not each.is_signed_by(key):
                raise PolicyError(f"the co-signature of {each.member!r} does not hold: ask the site for it again")
            merged[each.member] = each
        return self.model_copy(update={"cosignatures": tuple(merged[name] for name in sorted(merged))})

    @property
    def cosigners(self) -> tuple[str, ...]:
        """The members whose co-signatures of this very roster hold."""
        this = (self.sequence, self.hash.hex())
        keys = {member.name: key_from_text(member.public_key) for member in self.members}
        return tuple(
            each.member
            for each in self.cosignatures
            if (each.sequence, each.roster_hash) == this
            and each.member in keys
            and each.is_signed_by(keys[each.member])
        )

    @property
    def is_signed(self) -> bool:
        """Whether the coordinator's signature holds, and the roster says when it expires."""
        signature = signature_from_text(self.signature)
        signed = verify(key_from_text(self.coordinator), signature, _SIGNED_AS + self._signed_bytes())
        return signed and self.expires is not None

    def has_expired(self, at: datetime) -> bool:
        """Whether its term is over at a time (with a time zone). An unsigned one has none."""
        return self.expires is None or at >= datetime.strptime(self.expires, _TIME).replace(tzinfo=UTC)

    def require_current(self, at: datetime, where: str = "") -> None:
        """Refuses to use it after its term.

        Args:
            at: the time, with its time zone.
            where: opens the sentence, like "roster.json: ".

        Raises:
            PolicyError: it has expired.
        """
        if self.has_expired(at):
            raise PolicyError(f"{where}the roster expired {self.expires}: have the coordinator sign it anew")

    @property
    def hash(self) -> bytes:
        """SHA-256 (32 bytes) of all but the signatures."""
        return hashlib.sha256(self._signed_bytes()).digest()

    @property
    def fingerprint(self) -> str:
        """The short form of the hash, for people to read out."""
        return short_form(self.hash)

    @property
    def coordinator_pin(self) -> str:
        """What sites pin: stands for the coordinator's key, see `key_pin`."""
        return key_pin(key_from_text(self.coordinator))

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
        """The 1984-byte public key of the site with this index."""
        return key_from_text(self.members[index].public_key)

    @property
    def server_key(self) -> bytes:
        """The server's 1984-byte public key, which signs orders and receipts.

        Raises:
            PolicyError: the roster names none.
        """
        if self.server is None:
            raise PolicyError(
                "the roster names no server key, so orders and receipts prove nothing: have the coordinator add it"
            )
        return key_from_text(self.server)

    def __len__(self) -> int:
        return len(self.members)

    def _signed_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json", exclude={"signature", "cosignatures"}))
