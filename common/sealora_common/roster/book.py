"""Rosters that receipts are under, kept by their hash: a run outlives a change of its roster, and so do its receipts.

They travel with the receipts of their time. A site takes none that its coordinator did not sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from sealora_common.config import from_json
from sealora_common.errors import PolicyError, ReceiptError, UnreadableError
from sealora_common.roster import Roster


class RosterBook:
    """A directory of rosters, `<hash>.json`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, roster: Roster) -> None:
        """Keeps a roster, durably, unless it is there.

        Raises:
            StorageError: it could not be written.
        """
        path = self._path(roster.hash.hex())
        if not path.exists():
            roster.save(path)

    def find(self, digest: str, *, coordinator: str) -> Roster | None:
        """The roster with this hash (hex), if it is here.

        Raises:
            PolicyError: its file is damaged, or signed by another coordinator.
        """
        path = self._path(digest)
        if not path.exists():
            return None
        roster = Roster.load(path, coordinator=coordinator)
        if roster.hash.hex() != digest:
            raise PolicyError(f"{path}: is another roster than its name says: restore it from a backup")
        return roster

    def with_kept(self, known: Mapping[str, Roster], digests: Iterable[str], *, coordinator: str) -> dict[str, Roster]:
        """`known`, and of the rosters with these hashes all that are here. By hash (hex), as `known` is.

        Raises:
            PolicyError: as for `find`.
        """
        rosters = dict(known)
        for digest in sorted(set(digests) - set(known)):
            found = self.find(digest, coordinator=coordinator)
            if found is not None:
                rosters[digest] = found
        return rosters

    def _path(self, digest: str) -> Path:
        return self._directory / f"{digest}.json"


def rosters_to_bytes(rosters: Iterable[Roster]) -> bytes:
    """Rosters as they travel: one a line."""
    return b"".join(roster.model_dump_json(exclude_none=True).encode() + b"\n" for roster in rosters)


def rosters_from_bytes(content: bytes, *, coordinator: str) -> list[Roster]:
    """The inverse of `rosters_to_bytes`.

    Raises:
        ReceiptError: one is malformed, or not signed by `coordinator` (the pin of its key).
    """
    rosters = []
    for line in content.splitlines():
        try:
            roster = from_json(Roster, line)
        except UnreadableError:
            raise ReceiptError("a roster that came with the receipts is malformed: the order was refused") from None
        if roster.coordinator_pin != coordinator or not roster.is_signed:
            raise ReceiptError(
                "a roster that came with the receipts is not signed by this site's coordinator: the order was refused"
            )
        rosters.append(roster)
    return rosters
