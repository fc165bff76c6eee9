"""`receipts.jsonl`: a chain of receipts on the disk, one a line, each durable before it counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sealora_common.errors import PolicyError, ReceiptError
from sealora_common.receipts.receipt import Receipt, chain_to_bytes
from sealora_common.storage.durable import append_whole_lines, whole_lines, write_atomically


class ReceiptFile:
    """The receipts of rounds 1, 2, ... of a run. A last line that a kill cut short counts as never written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Receipt]:
        """All receipts.

        Raises:
            PolicyError: the file is damaged.
            StorageError: it cannot be read.
        """
        return [self._parsed(number, line) for number, line in enumerate(whole_lines(self.path), start=1)]

    def tail(self) -> tuple[int, Receipt | None]:
        """How many there are, and the last one. Only that is parsed: a chain of many sites and rounds is large.

        Raises:
            PolicyError: the file is damaged.
            StorageError: it cannot be read.
        """
        lines = whole_lines(self.path)
        return len(lines), self._parsed(len(lines), lines[-1]) if lines else None

    def append(self, receipts: Sequence[Receipt]) -> None:
        """Appends those of `receipts`, which are successive rounds, that are not there yet.

        Raises:
            StorageError: they could not be written.
        """

        def lines_after(count: int) -> list[bytes]:
            new = [receipt for receipt in receipts if receipt.round_number > count]
            # A gap is no chain. It cannot come about but by somebody who cut the file in the meantime.
            return [receipt.to_line() for receipt in new if new[0].round_number == count + 1]

        append_whole_lines(self.path, lines_after)

    def replace(self, receipts: Sequence[Receipt]) -> None:
        """Writes the chain anew.

        Raises:
            StorageError: it could not be written; the old file is untouched.
        """
        write_atomically(self.path, chain_to_bytes(receipts))

    def _parsed(self, number: int, line: bytes) -> Receipt:
        try:
            receipt = Receipt.from_line(line)
        except ReceiptError as error:
            raise PolicyError(f"{self.path}, line {number}: {error}: restore the file from a backup") from None
        if receipt.round_number != number:
            raise PolicyError(
                f"{self.path}, line {number}: is the receipt of round {receipt.round_number}: "
                "restore the file from a backup"
            )
        return receipt
