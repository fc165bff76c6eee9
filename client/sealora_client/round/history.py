"""What a site remembers of a run: the receipts, the rosters they are under, and what it confirmed itself.

receipts/RUN.jsonl             the chain, one receipt a line
receipts/RUN.confirmed.jsonl   this site's own confirmations
receipts/RUN.superseded.jsonl  notes on attempts that it confirmed and that another attempt took the place of
receipts/rosters/HASH.json     rosters that it took part under
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sealora_client.round.confirmed import ConfirmedRounds, Superseded
from sealora_client.site.seen_rosters import read_seen
from sealora_common.errors import OrderRefusedError, PolicyError
from sealora_common.receipts.check import check_chain
from sealora_common.receipts.conclusion import Conclusion, check_conclusion
from sealora_common.receipts.file import ReceiptFile
from sealora_common.receipts.receipt import Receipt, chain_from_bytes, first_difference, history_of
from sealora_common.recipe import Recipe
from sealora_common.roster import Roster
from sealora_common.roster.book import RosterBook, rosters_from_bytes
from sealora_common.round.order import RoundOrder, most_sessions

_REFUSED = "the order is refused; tell the consortium's coordinator"


@dataclass(frozen=True)
class Told:
    """What came with an order: receipts that this site is said to lack, and earlier rosters that they are under."""

    receipts: tuple[Receipt, ...] = ()
    rosters: tuple[Roster, ...] = ()

    @classmethod
    def parse(cls, receipts: bytes, rosters: bytes, *, coordinator: str) -> Told:
        """Reads both as they travel.

        Raises:
            ReceiptError: they are malformed, or a roster is not signed by the coordinator.
        """
        return cls(tuple(chain_from_bytes(receipts)), tuple(rosters_from_bytes(rosters, coordinator=coordinator)))


@dataclass(frozen=True)
class Checked:
    """What `History.check` found good, for `History.take` to write down."""

    receipts: tuple[Receipt, ...]
    rosters: tuple[Roster, ...]
    superseded: tuple[Superseded, ...]


class History:
    """The receipts of one run in a site's directory."""

    def __init__(self, directory: Path, run: str) -> None:
        receipts = directory / "receipts"
        self._directory = directory
        self._file = ReceiptFile(receipts / f"{run}.jsonl")
        self._book = RosterBook(receipts / "rosters")
        self._confirmed = ConfirmedRounds(receipts, run)
        self._run = run

    @property
    def receipts(self) -> list[Receipt]:
        """The chain so far.

        Raises:
            PolicyError: the file is damaged.
        """
        return self._file.read()

    @property
    def count(self) -> int:
        """How many receipts there are.

        Raises:
            PolicyError: the file is damaged.
        """
        return self._file.tail()[0]

    def check(self, told: Told, order: RoundOrder, recipe: Recipe, roster: Roster) -> Checked:
        """Checks what came with an order against all this site knows. Writes nothing.

        Args:
            told: what came with it.
            order: the order, its signature checked.
            recipe: this site's.
            roster: this site's, pinned.

        Raises:
            OrderRefusedError, ReceiptError: the run has had all its sessions; or the receipts do not follow from those
                this site has, do not prove what they say, contradict what this site confirmed or the rosters that it
                has used, or are not the ones the order was issued under.
            PolicyError, StorageError: a file of this site's is damaged.
        """
        # A server may give one attempt's number again and again: each session adds a line here, and to what may go
        # wrong by chance, which is bounded for so many sessions (`RoundTerms.sessions`).
        if self._confirmed.count >= most_sessions(recipe, roster):
            raise OrderRefusedError(
                f"this site has confirmed {self._confirmed.count} sealed sums of this run, which is as many as its "
                "rounds and their attempts can be: start a new run"
            )
        return self._follow(told, order.round_number, order.history, order.adapter_digest, recipe, roster)

    def check_end(self, told: Told, conclusion: Conclusion, recipe: Recipe, roster: Roster) -> Checked:
        """Checks how the run ended, and what came with that, against all this site knows. Writes nothing.

        Args:
            told: what came with it.
            conclusion: what the server says of the end.
            recipe: the run's, as this site agreed to it.
            roster: this site's, pinned.

        Raises:
            OrderRefusedError, ReceiptError: as for `check`; or it is not the end that the receipts have, or another
                adapter than theirs.
            PolicyError, StorageError: a file of this site's is damaged.
        """
        checked = self._follow(told, conclusion.rounds + 1, conclusion.history, None, recipe, roster)
        chain = [*self.receipts, *checked.receipts]
        rosters = {each.hash.hex(): each for each in checked.rosters}
        if chain and chain[-1].roster_hash not in rosters:
            found = self._book.find(chain[-1].roster_hash, coordinator=roster.coordinator_pin)
            if found is None:
                raise OrderRefusedError(
                    f"the roster of the last round ({chain[-1].roster_hash[:12]}) is not in this site's "
                    "receipts/rosters: restore it from a backup"
                )
            rosters[chain[-1].roster_hash] = found
        check_conclusion(conclusion, chain, recipe, rosters)
        return checked

    def _follow(
        self, told: Told, following: int, history: str, adapter: str | None, recipe: Recipe, roster: Roster
    ) -> Checked:
        """The new receipts, checked.

        Args:
            told: what came.
            following: the round that comes after them.
            history: hash of the last one.
            adapter: digest of the last one's adapter; None where it may be an earlier one's.
            recipe: the run's.
            roster: this site's, pinned.
        """
        count, last = self._file.tail()
        new = self._new(told.receipts, count, last, following, history)
        rosters = self._rosters(new, told.rosters, roster)
        proofs = check_chain(new, rosters, after=last, run=self._run, recipe=recipe)
        latest = new[-1:] or ([] if last is None else [last])
        if history_of(latest) != history or following != count + len(new) + 1:
            raise OrderRefusedError("the order does not follow from the receipts before it: it was refused")
        if latest and adapter not in (None, latest[0].adapter_digest):
            raise OrderRefusedError("the order's adapter is not the one of the last receipt: it was refused")
        superseded = self._confirmed.check(proofs)
        used = {receipt.roster_hash for receipt in new}
        kept = [roster, *(each for digest, each in rosters.items() if digest in used)]
        self._require_one_face(kept)
        return Checked(tuple(new), tuple(kept), tuple(superseded))

    def take(self, checked: Checked) -> None:
        """Writes down, durably, what was checked.

        Raises:
            StorageError: it could not be written.
        """
        for roster in checked.rosters:
            self._book.keep(roster)
        self._confirmed.note(checked.superseded)
        self._file.append(checked.receipts)

    def confirm(self, order: RoundOrder, transcript: bytes, survivors: tuple[str, ...]) -> None:
        """Notes, durably, what this site is about to confirm.

        Raises:
            StorageError: it could not be written. The confirmation must not leave.
        """
        self._confirmed.add(order, transcript, survivors)

    def _new(
        self, told: Sequence[Receipt], count: int, last: Receipt | None, following: int, history: str
    ) -> Sequence[Receipt]:
        """Those receipts that this site has not, once the others are known to be the same."""
        if following <= count:
            raise _differs(following)
        old = [receipt for receipt in told if receipt.round_number <= count]
        new = told[len(old) :]
        if old:
            first = old[0].round_number
            differs = first_difference(self.receipts[first - 1 :], old)
            if differs is not None:
                raise _differs(differs)
        if new and new[0].round_number > count + 1:
            raise OrderRefusedError(
                f"this site has {count} receipts of this run and was sent those from round {new[0].round_number} on: "
                "the order is refused until it is sent what it lacks"
            )
        follows = new[0].previous if new else history
        if last is not None and follows != last.hash:
            raise OrderRefusedError(
                f"the server's receipts differ from this site's in round {count} or before: {_REFUSED}"
            )
        return new

    def _require_one_face(self, rosters: Sequence[Roster]) -> None:
        """Refuses receipts under a roster that is not the one of its number that this site has used."""
        seen = read_seen(self._directory)
        for roster in rosters:
            if seen.contradicts(roster.coordinator_pin, roster.sequence, roster.hash.hex()):
                raise OrderRefusedError(
                    f"two faces: receipts are under a roster number {roster.sequence} ({roster.hash.hex()[:12]}) that "
                    f"is not the one of that number used here: {_REFUSED}"
                )

    def _rosters(self, new: Sequence[Receipt], told: Sequence[Roster], roster: Roster) -> dict[str, Roster]:
        """By hash (hex): this site's, and those of the receipts' times as far as it knows or was told them."""
        known = {each.hash.hex(): each for each in told} | {roster.hash.hex(): roster}
        digests = {receipt.roster_hash for receipt in new}
        return self._book.with_kept(known, digests, coordinator=roster.coordinator_pin)


def receipts_file(path: Path) -> Path:
    """A chain's file: the one given, or the newest of a site's directory, or the one of a run's.

    Raises:
        PolicyError: there is none.
    """
    if not path.is_dir():
        return path
    own = ("confirmed.jsonl", "superseded.jsonl")
    chains = [file for file in (path / "receipts").glob("*.jsonl") if not file.name.endswith(own)]
    chains += path.glob("receipts.jsonl")
    if not chains:
        raise PolicyError(f"{path}: no receipts here yet: give a site's directory, a run's, or a chain's file")
    return max(chains, key=lambda file: file.stat().st_mtime)


def _differs(round_number: int) -> OrderRefusedError:
    return OrderRefusedError(f"the server's receipts differ from this site's from round {round_number} on: {_REFUSED}")
