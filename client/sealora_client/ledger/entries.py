"""The ledger's entries: what each kind says, and how an entry is bound to the one before it and signed.

    hash      = SHA-256("sealora ledger entry v2\\n" || hash of the entry before || body)
    signature = the site's (`sealora_common.identity.hybrid`) of "sealora ledger signature v2\\n" || hash

The body is the entry's fields as canonical JSON; the first entry follows 32 zero bytes. Since a hash covers all
entries before it, one signature holds for the whole ledger up to its entry.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from sealora_common.canonical import canonical_json
from sealora_common.config import adapted_from_json, json_value
from sealora_common.errors import UnreadableError
from sealora_common.identity import Identity, PublicKeyText, verify
from sealora_common.privacy.accounting import Noise, PrivacyEvent
from sealora_common.recipe.sections.data import Unit

HASH_BYTES = 32
GENESIS = bytes(HASH_BYTES)
_HASHED_AS = b"sealora ledger entry v2\n"
_SIGNED_AS = b"sealora ledger signature v2\n"

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PublicKey = PublicKeyText | Literal[""]


class DamageError(Exception):
    """The ledger is not what was written. Turned into a sentence for a person by whoever knows the file."""

    def __init__(self, number: int, why: str, remedy: str = "") -> None:
        super().__init__(f"entry {number}: {why}")
        self.number = number
        self.why = why
        self.remedy = remedy


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int = Field(ge=1)
    """Position in the ledger, from 1. Entries are in this order, whatever the clock said."""
    created: str
    """When it was written by this machine's clock, UTC, ISO 8601."""


class Begun(_Fields):
    """The first entry: the ledger's own keys."""

    kind: Literal["begin"] = "begin"
    member_key: Hex32
    """Under which members are digested."""
    public_key: PublicKey
    """Of the site that signs from here on; empty: entries are not signed."""


class DataSetAdded(_Fields):
    """A data set that is about to be charged for the first time."""

    kind: Literal["dataset"] = "dataset"
    fingerprint: str = Field(min_length=1)
    unit: Unit
    size: int = Field(ge=1)
    """Number of units."""
    members_digest: Hex32
    """SHA-256 of the members kept beside the entry (`members.KeyedMembers.digest`)."""
    overlaps: tuple[int, ...]
    """Entry numbers of the earlier data sets that share a member or a record with it."""


class Charged(_Fields):
    """Leave to train one round, or to evaluate once."""

    kind: Literal["charge"] = "charge"
    dataset: int
    """Entry number of the data set."""
    run: str
    round_number: int
    noise_multiplier: float
    sample_rate: float
    steps: int
    noise: Noise
    units: int
    """`grid_steps` of the event, under the name it had when the first ledgers were written."""
    delta: float
    """At which the limits were meant."""
    epsilon_limit: float | None
    """Of the data set, at the time; null: none."""
    run_epsilon_limit: float | None
    planned: int = Field(default=0, ge=0)
    """How many charges of this kind the run may take in all; 0: an earlier version did not say."""
    insecure: bool
    """Whether its noise came from the insecure test seed and so protects nothing."""

    @property
    def event(self) -> PrivacyEvent:
        """What it pays for."""
        return PrivacyEvent(self.noise_multiplier, self.sample_rate, self.steps, self.noise, self.units)


class Repeated(_Fields):
    """A charge taken up again: its round is trained anew, as nothing computed under it left the site."""

    kind: Literal["repeat"] = "repeat"
    charge: int
    insecure: bool


class Released(_Fields):
    """A charge's result is about to leave the site."""

    kind: Literal["release"] = "release"
    charge: int
    content: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """SHA-256 (hex) of the result: the same result may leave again, another may not. Empty: none may."""


class Settled(_Fields):
    """A charge is closed though nothing left the site. It stays spent, and nothing can leave under it any more."""

    kind: Literal["settle"] = "settle"
    charge: int


class Voided(_Fields):
    """A charge is taken back: nothing that was computed under it has left the site, and nothing can any more."""

    kind: Literal["void"] = "void"
    charge: int


class Accepted(_Fields):
    """A person took the ledger as it stands: the site's key was replaced, or the head file was lost."""

    kind: Literal["accept"] = "accept"
    public_key: PublicKey
    """Signs from this entry on."""
    reason: Literal["key replaced", "head lost", "key replaced, head lost"]

    @property
    def deed(self) -> str:
        """What a person had done to the ledger, in a word."""
        return "accepted"


Since = Literal["nothing", "known-runs"]
"""What a person says of the time since a copy of the ledger was made: the site took part in nothing; or in runs that
had begun by then, and in no other."""


class Restored(_Fields):
    """A person put the ledger back from an export that ended before this entry, and before what it wrote off."""

    kind: Literal["restore"] = "restore"
    public_key: PublicKey
    """Signs from this entry on."""
    since: Since | Literal[""] = ""
    """What that person said of the time since; empty: nothing, and the head beside the ledger told that none is
    missing, or an earlier version did not ask."""

    @property
    def deed(self) -> str:
        """As for `Accepted`."""
        return "restored"


Entry = Annotated[
    Begun | DataSetAdded | Charged | Repeated | Released | Settled | Voided | Accepted | Restored,
    Field(discriminator="kind"),
]
_entry: TypeAdapter[Entry] = TypeAdapter(Entry)


@dataclass(frozen=True)
class SealedEntry:
    """An entry as it is kept: its body, its hash, and the site's signature (empty where the ledger has no key)."""

    body: bytes
    hash: bytes
    signature: bytes

    @classmethod
    def seal(cls, entry: Entry, previous: bytes, identity: Identity | None) -> SealedEntry:
        """Binds `entry` to the hash of the entry before it and signs it."""
        body = canonical_json(entry.model_dump(mode="json"))
        link = link_hash(previous, body)
        return cls(body, link, identity.sign(_SIGNED_AS + link) if identity else b"")

    def read(self, number: int, previous: bytes) -> Entry:
        """The entry, if it is the one numbered `number` and follows the entry hashed `previous`.

        Raises:
            DamageError: it is not.
        """
        if link_hash(previous, self.body) != self.hash:
            raise DamageError(number, "its hash does not fit its content and the entry before it")
        try:
            entry = adapted_from_json(_entry, self.body)
        except UnreadableError as error:
            raise DamageError(number, f"it cannot be read ({error.reason})") from None
        if entry.number != number:
            raise DamageError(number, f"it is numbered {entry.number}")
        return entry

    @property
    def fields(self) -> dict[str, Any]:
        """The body's fields, as JSON has them."""
        found = json_value(self.body)
        return found if isinstance(found, dict) else {}

    def is_signed_by(self, public_key: bytes) -> bool:
        """Whether the holder of this 1984-byte key signed it; with no key, whether it carries no signature."""
        if not public_key:
            return not self.signature
        return verify(public_key, self.signature, _SIGNED_AS + self.hash)


def link_hash(previous: bytes, body: bytes) -> bytes:
    """The 32-byte hash of the entry with this body that follows the entry hashed `previous`."""
    return hashlib.sha256(_HASHED_AS + previous + body).digest()


def now() -> str:
    """The time by this machine's clock: UTC, ISO 8601, in milliseconds, so that later times compare as greater."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
