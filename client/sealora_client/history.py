"""What a site remembers of a run: the server's receipts, and what it confirmed itself in the last round."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sealora_common.errors import OrderRefusedError, PolicyError
from sealora_common.order import RoundOrder
from sealora_common.receipt import (
    Receipt,
    chain_from_bytes,
    chain_to_bytes,
    check_chain,
    first_difference,
    history_of,
)
from sealora_common.storage import write_atomically


class Confirmed(BaseModel):
    """The last round that this site confirmed: what its receipt must say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    round_number: int
    order_digest: str
    survivors: tuple[str, ...]
    members: tuple[str, ...] | None = None
    """The sites of its group, of which alone it confirmed anything; None where the whole roster was sealed as one."""

    def agrees_with(self, named: tuple[str, ...]) -> bool:
        """Whether a receipt that names these survivors says the same; a group that was left out is not in it at all."""
        if self.members is None:
            return named == self.survivors
        of_the_group = tuple(name for name in named if name in self.members)
        return of_the_group in ((), self.survivors)


class History:
    """The receipts of one run in a site's directory."""

    def __init__(self, directory: Path, run: str) -> None:
        self._chain_file = directory / "receipts" / f"{run}.json"
        self._confirmed_file = directory / "receipts" / f"{run}.confirmed.json"
        self._run = run

    @property
    def receipts(self) -> list[Receipt]:
        """The chain so far.

        Raises:
            PolicyError: the file is damaged.
        """
        return _read_chain(self._chain_file) if self._chain_file.exists() else []

    def extend(self, told: list[Receipt], order: RoundOrder, recipe_hash: str, server_key: bytes) -> None:
        """Takes the chain that came with an order, after checking it: `check` and `take`."""
        self.check(told, order, recipe_hash, server_key)
        self.take(told)

    def take(self, told: list[Receipt]) -> None:
        """Writes a chain that was checked, durably, if it tells more than the one that is here."""
        if len(told) > len(self.receipts):
            write_atomically(self._chain_file, chain_to_bytes(told))

    def check(self, told: list[Receipt], order: RoundOrder, recipe_hash: str, server_key: bytes) -> None:
        """Checks the chain that came with an order against all this site knows.

        Raises:
            OrderRefusedError: the chain is broken or not signed, contradicts what this site stored or confirmed, or is
                not the one the order was issued under.
        """
        check_chain(told, run=self._run, recipe_hash=recipe_hash, server_key=server_key)
        stored = self.receipts
        differs = first_difference(stored, told)
        if differs is not None or len(told) < len(stored):
            raise OrderRefusedError(
                f"the server's receipts differ from this site's from round {differs or len(told) + 1} on: "
                "the order is refused; tell the consortium's coordinator"
            )
        if history_of(told) != order.history or order.round_number != len(told) + 1:
            raise OrderRefusedError("the order does not follow from the receipts that came with it: it was refused")
        if told and told[-1].adapter_digest != order.adapter_digest:
            raise OrderRefusedError("the order's adapter is not the one of the last receipt: it was refused")
        self._check_own_part(told)

    def confirm(self, order: RoundOrder, survivors: tuple[str, ...], members: tuple[str, ...] | None = None) -> None:
        """Notes, durably, what this site is about to confirm; `members` are those of its group, if there are groups."""
        confirmed = Confirmed(
            run=order.run,
            round_number=order.round_number,
            order_digest=order.digest.hex(),
            survivors=survivors,
            members=members,
        )
        write_atomically(self._confirmed_file, confirmed.model_dump_json().encode())

    def _check_own_part(self, told: list[Receipt]) -> None:
        if not self._confirmed_file.exists():
            return
        try:
            own = Confirmed.model_validate_json(self._confirmed_file.read_bytes())
        except (OSError, ValidationError):
            raise PolicyError(f"{self._confirmed_file}: cannot be read: restore it from a backup") from None
        for receipt in told:
            if receipt.order_digest == own.order_digest and not own.agrees_with(receipt.survivors):
                raise OrderRefusedError(
                    f"the receipt of round {receipt.round_number} names other survivors than this site confirmed: "
                    "the order is refused; tell the consortium's coordinator"
                )


def read_receipts(path: Path) -> list[Receipt]:
    """A chain from its file, or the newest chain of a site's directory.

    Raises:
        PolicyError: there is none, or it is damaged.
    """
    if path.is_dir():
        chains = [file for file in (path / "receipts").glob("*.json") if not file.name.endswith(".confirmed.json")]
        if not chains:
            raise PolicyError(f"{path}: no receipts here yet: give a site's directory or a chain's file")
        path = max(chains, key=lambda file: file.stat().st_mtime)
    return _read_chain(path)


def _read_chain(path: Path) -> list[Receipt]:
    try:
        return chain_from_bytes(path.read_bytes())
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read ({error.strerror}): give a site's directory or a chain") from None
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}") from None
