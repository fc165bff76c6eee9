"""Which rosters may follow which: what keeps a coordinator, or whoever has its key, from showing two faces.

Every signed roster has a number and names the one before by its hash. Whoever has used one remembers it, takes no
older one, none of the same number that is another, and no successor of another.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sealora_common.errors import PolicyError
from sealora_common.roster.roster import Roster

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Sequence = Annotated[int, Field(ge=1, lt=2**32)]


def require_succession(roster: Roster, sequence: int, roster_hash: str, where: str = "") -> None:
    """Refuses a roster that may not come after another one of the same coordinator's.

    Args:
        roster: what is to be used.
        sequence: the number of the newest roster that has been used.
        roster_hash: its hash, hex.
        where: opens the sentence, like "roster.json: ".

    Raises:
        PolicyError: it is older, another of the same number, or the next that does not name the one used.
    """
    number, found = roster.sequence, roster.hash.hex()
    if number < sequence:
        raise PolicyError(
            f"{where}this roster is number {number}, and number {sequence} has been used here: it is out of date, so "
            "put the newest one here"
        )
    if number == sequence and found != roster_hash:
        raise PolicyError(
            f"{where}two faces: this roster is number {number} ({found[:12]}), and another of that number "
            f"({roster_hash[:12]}) has been used here: do not use it, and compare fingerprints with the other sites"
        )
    if number == sequence + 1 and roster.previous != roster_hash:
        raise PolicyError(
            f"{where}this roster, number {number}, follows a number {sequence} ({roster.previous[:12]}) that is not "
            f"the one used here ({roster_hash[:12]}): do not use it, and compare fingerprints with the other sites"
        )


class SeenRosters(BaseModel):
    """The rosters that a party has used, or knows by the names that later ones gave them, under each coordinator."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    used: dict[Hex32, Sequence] = {}
    """Coordinator's pin -> the highest number used."""
    hashes: dict[Hex32, dict[Sequence, Hex32]] = {}
    """Coordinator's pin -> roster's number -> its hash."""

    @model_validator(mode="after")
    def _tells_what_was_used(self) -> Self:
        if self.hashes.keys() != self.used.keys() or any(
            number not in self.hashes[pin] for pin, number in self.used.items()
        ):
            raise ValueError("each coordinator must have a number used, and the hash of that number")
        return self

    def require(self, roster: Roster, where: str = "") -> None:
        """Refuses a roster that contradicts those seen.

        Raises:
            PolicyError: see `require_succession`.
        """
        pin = roster.coordinator_pin
        if pin in self.used:
            require_succession(roster, self.used[pin], self.hashes[pin][self.used[pin]], where)

    def after(self, roster: Roster) -> SeenRosters:
        """What has been seen once `roster`, which `require` lets pass, is used."""
        pin = roster.coordinator_pin
        known = dict(self.hashes.get(pin, {}))
        if roster.sequence > 1:
            known.setdefault(roster.sequence - 1, roster.previous)
        known[roster.sequence] = roster.hash.hex()
        return self.model_copy(
            update={"used": {**self.used, pin: roster.sequence}, "hashes": {**self.hashes, pin: known}}
        )

    def contradicts(self, coordinator_pin: str, sequence: int, roster_hash: str) -> bool:
        """Whether a roster that somebody else tells of, as a member's receipt does, is not the one of its number here.

        Args:
            coordinator_pin: of the coordinator whose roster it is said to be.
            sequence: its number.
            roster_hash: its hash, hex.

        Returns:
            Whether there were two rosters of that number. False if none of that number is known.
        """
        known = self.hashes.get(coordinator_pin, {}).get(sequence)
        return known is not None and known != roster_hash
