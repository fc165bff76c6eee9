"""The one family of errors a person meets: one sentence that says what is wrong, where, and what to do."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import ClassVar

from sealora_common.show.safe_text import safe_text


class SealoraError(Exception):
    """Base of every error Sealora raises on purpose. `str(error)` is one sentence fit for a person.

    Attributes:
        travels: whether the sentence was written to leave a site. A site tells the server such sentences word for word
            and of every other error nothing but that there was one, so a sentence that travels must follow from the
            server's messages and from what was agreed (recipe, roster, policy), never from a record.
    """

    travels: ClassVar[bool] = False

    def __str__(self) -> str:
        """The sentence, made safe once for wherever it is shown, logged or sent: it may quote what others wrote."""
        return safe_text(super().__str__())


class UnreadableError(SealoraError):
    """What others wrote is not what it should be, or beyond a bound. Whoever reads it adds what it is and a remedy.

    Attributes:
        reason: what is wrong.
        line: where, counted from 1, if it is known.
        field: which field is wrong, dotted; empty if it is none or the whole.
    """

    def __init__(self, reason: str, *, line: int | None = None, field: str = "") -> None:
        place = f"line {line}: " if line is not None else f"{field}: " if field else ""
        super().__init__(f"{place}{reason}")
        self.reason = safe_text(reason)
        self.line = line
        self.field = field


class RecipeError(SealoraError):
    """A recipe is missing, malformed or asks for something impossible."""


class DataError(SealoraError):
    """A site's records cannot be used as they are."""


class ModelError(SealoraError):
    """A base model or adapter is missing, damaged or of the wrong kind."""


class BudgetError(SealoraError):
    """An order would spend more privacy than the ledger and the policy allow."""


class AlreadyReleasedError(BudgetError):
    """What an order asks for has left the site already, and cannot be sent again."""


class PolicyError(SealoraError):
    """An order lies outside what the site's policy allows."""


class OrderRefusedError(PolicyError):
    """A site does not do what the server asks. Written to travel: see `SealoraError.travels`."""

    travels = True


class ReceiptError(PolicyError):
    """A receipt, or a chain of them, does not prove what it says. Travels: it follows from the server's messages."""

    travels = True


class StorageError(SealoraError):
    """A file could not be written or read (no space, no permission, damaged)."""


class FederationError(SealoraError):
    """A round could not be completed: sites missing, replies refused, deadline passed."""


def storage_error(path: Path, error: OSError) -> StorageError:
    """Says in one sentence why `path` could not be written and what to do about it."""
    remedies = {
        errno.ENOSPC: "the disk is full: free some space",
        errno.EDQUOT: "the disk quota is used up: free some space or raise the quota",
        errno.EFBIG: "the file-size limit of this account is too small: raise it (ulimit -f)",
        errno.EACCES: "permission denied: give this account the right to write there",
        errno.EPERM: "permission denied: give this account the right to write there",
        errno.EROFS: "the file system is read-only: choose another directory",
        errno.ENOTDIR: "part of its path is a file, not a directory: choose another directory",
    }
    why = remedies.get(error.errno or 0, f"{error.strerror or error}: check the disk")
    return StorageError(f"cannot write {path}: {why}, then run the same command again")
