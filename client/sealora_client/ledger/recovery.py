"""What a person decides when ledger, head or signing key were lost: to restore an export, to accept what is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sealora_client.ledger.entries import Accepted, DamageError, Entry, Restored, SealedEntry, Since, now
from sealora_client.ledger.export import Export, read_export, require_continues
from sealora_client.ledger.head import head_path, read_head
from sealora_client.ledger.journal import Journal, Verified, require_head
from sealora_client.ledger.store import (
    files_of,
    immediate,
    open_store,
    write_entry,
    write_members,
)
from sealora_client.ledger.write_off import write_off
from sealora_common.errors import StorageError, storage_error
from sealora_common.identity import Identity, key_pin
from sealora_common.storage.durable import rename_durably


def restore_ledger(
    file: Path, path: Path, identity: Identity, *, signed_by: str | None = None, since: Since | None = None
) -> Verified:
    """Puts the ledger back at `path` from an export, and notes that in it.

    Args:
        file: the export.
        path: where there is no ledger now.
        identity: the site's, which signs from here on.
        signed_by: pin (`key_pin`) of the key that the export must be signed by, or empty for none, if the site's was
            replaced since.
        since: what a person says of the time since the export. With "known-runs" all that the runs in it may yet take
            counts as spent (`write_off`). None: nobody said; what was open counts as spent, and no more.

    Raises:
        StorageError: there is a ledger or a part of one, the head beside it tells of more entries or of another
            ledger, or the export is damaged or signed by another key.
    """
    for existing in files_of(path):
        if existing.exists():
            raise StorageError(
                f"{existing} exists: an export never replaces a ledger; if this one is damaged, move it and its -wal "
                f"and -shm files away, but leave {head_path(path).name} there"
            )
    export = read_export(file)
    _require_not_backwards(file, export, path)
    _require_signer(str(file), export.state.key, identity, signed_by)
    aside = path.with_name(f".{path.name}.restoring")
    try:
        for left in files_of(aside):
            left.unlink(missing_ok=True)
        _build(aside, export, identity, since)
        rename_durably(aside, path)
    except OSError as error:
        raise storage_error(path, error) from error
    with Journal(path, identity) as journal:  # writes the head
        return journal.verify()


def accept_ledger(
    path: Path, identity: Identity, *, signed_by: str | None = None, export: Path | None = None
) -> Verified:
    """Goes on with the ledger at `path` though its head is missing or another key signed it, and notes that in it.

    Everything else about the ledger must be whole.

    Args:
        path: the ledger.
        identity: the site's, which signs from here on.
        signed_by: pin (`key_pin`) of the key that must have signed the ledger, or empty for none, if the site's was
            replaced since.
        export: an export that the ledger must agree with.

    Raises:
        StorageError: the ledger is damaged, signed by yet another key, differs from the export, or needs no accepting.
    """
    require_ledger(path)
    with Journal(path, identity, accepting=True) as journal:
        journal.verify()
        head_lost = read_head(path) is None
        with journal.writing() as state:
            _require_signer(f"the privacy ledger {path}", state.key, identity, signed_by)
            if export is not None:
                require_continues(state, read_export(export), export)
            reasons = [
                *(["key replaced"] if state.key != identity.public_key else []),
                *(["head lost"] if head_lost else []),
            ]
            if not reasons:
                raise StorageError(
                    f"the privacy ledger {path} is this site's, with its head: there is nothing to accept"
                )
            journal.append(Accepted, public_key=identity.public_key_text, reason=", ".join(reasons))
    with Journal(path, identity) as journal:
        return journal.verify()


def verify_against(file: Path, path: Path, identity: Identity) -> None:
    """Checks that the ledger at `path` goes on from an export: that nothing exported is missing or differs.

    Raises:
        StorageError: it does not, or one of the two is damaged.
    """
    export = read_export(file)
    with Journal(path, identity) as journal, journal.reading() as state:
        require_continues(state, export, file)


def write_off_known_runs(path: Path, identity: Identity) -> list[str]:
    """Counts all that the runs in the ledger may yet take as spent; returns their names.

    For a ledger that was put back to an earlier state otherwise than by `restore_ledger`.

    Raises:
        StorageError: the ledger is damaged, or does not say how long a run may go on.
    """
    require_ledger(path)
    with Journal(path, identity) as journal:
        journal.verify()
        with journal.writing() as state:
            return write_off(state, journal.append)


def require_ledger(path: Path) -> None:
    """Checks that there is, or was, a ledger at `path`: looking for one must not begin one.

    Raises:
        StorageError: there is none.
    """
    if not path.exists() and not head_path(path).exists():
        raise StorageError(f"{path}: there is no privacy ledger here yet: it is begun with the site's first charge")


def _require_not_backwards(file: Path, export: Export, path: Path) -> None:
    head = read_head(path)
    if head is None:
        return
    if head.number > export.state.number:
        raise StorageError(
            f"{file} has {export.state.number} entries, but {head_path(path)} tells of {head.number}: to restore it "
            "would forget what was spent since, so take a newer export"
        )
    try:
        require_head(head, export.state)
    except DamageError:
        raise StorageError(
            f"{file} is not of the ledger that {head_path(path)} tells of: take this site's export"
        ) from None


def _require_signer(what: str, key: bytes, identity: Identity, signed_by: str | None) -> None:
    pin = key_pin(key) if key else ""
    if pin != (identity.pin if signed_by is None else signed_by):
        raise StorageError(
            f"{what} is signed by {'the key of the pin ' + pin if key else 'no key'}: if that was this site's key "
            f"before it was replaced, add --signed-by {pin or 'none'}"
        )


def _build(aside: Path, export: Export, identity: Identity, since: Since | None) -> None:
    """Writes a whole ledger: the export's entries, what is written off, and that they were restored."""
    state = export.state
    connection = open_store(aside)
    try:
        with immediate(connection, aside):
            for number, sealed in enumerate(export.entries, start=1):
                write_entry(connection, number, sealed)
            for dataset, (members, records) in export.members.items():
                write_members(connection, dataset, members, records)

            def append(kind: Callable[..., Entry], **fields: Any) -> int:
                entry = kind(number=state.number + 1, created=now(), **fields)
                sealed = SealedEntry.seal(entry, state.hash, identity)
                write_entry(connection, entry.number, sealed)
                state.take(sealed)
                return entry.number

            if since == "known-runs":
                write_off(state, append)
            # Last: a ledger without a head is taken only if it ends with such an entry.
            append(Restored, public_key=identity.public_key_text, since=since or "")
        connection.execute("PRAGMA journal_mode=DELETE")  # all of it into the one file that is moved into place
    finally:
        connection.close()
