"""The ledger as signed lines of JSON, which can be read without SQLite, and back.

One line an entry, in order, then one line that closes the export:

    {"entry": {...}, "hash": "<hex>", "signature": "<base64>"}
    {"entry": {"kind": "dataset", ...}, "hash": ..., "members": "<base64>", "records": "<base64>", "signature": ...}
    {"export": {"created": "<time>", "entries": 57, "hash": "<hash of the last entry>"}, "signature": "<base64>"}

Hashes and signatures of entries are those of `entries`, over the entry's canonical JSON. The site signs the last line
when it makes the export, over "sealora ledger export v2\\n" and the canonical JSON of "export", so an export that lost
its end is found. It holds the key of the members' digests, so it is as confidential as the ledger.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Base64Bytes, BaseModel, ConfigDict

from sealora_client.ledger.entries import DamageError, Hex32, SealedEntry, now
from sealora_client.ledger.journal import Journal
from sealora_client.ledger.members import members_digest
from sealora_client.ledger.state import LedgerState
from sealora_common.canonical import canonical_json
from sealora_common.config import LARGE, from_json, read_file, why_not
from sealora_common.errors import StorageError, UnreadableError
from sealora_common.identity import Identity, SignatureText, signature_from_text, signature_to_text, verify
from sealora_common.storage.durable import write_atomically

_SIGNED_AS = b"sealora ledger export v2\n"


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    entry: dict[str, Any]
    hash: Hex32
    signature: SignatureText
    members: Base64Bytes | None = None
    records: Base64Bytes | None = None


class _Made(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    created: str
    entries: int
    hash: Hex32


class _LastLine(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    export: _Made
    signature: SignatureText

    @property
    def signed_bytes(self) -> bytes:
        return _SIGNED_AS + canonical_json(self.export.model_dump(mode="json"))


@dataclass(frozen=True)
class Export:
    """An export that was read and found whole.

    Attributes:
        entries: all entries, as they are kept.
        state: what follows from them.
        members: of each data set, by the number of its entry: the bytes of its members and of its records.
        created: when it was made, UTC, ISO 8601.
    """

    entries: list[SealedEntry]
    state: LedgerState
    members: dict[int, tuple[bytes, bytes]]
    created: str


def export_ledger(path: Path, identity: Identity, file: Path) -> int:
    """Verifies the ledger at `path` and writes all of it to `file`, readable by its owner alone.

    Returns:
        How many entries it has.

    Raises:
        StorageError: the ledger is damaged or not this site's, or the file exists or cannot be written.
    """
    if file.exists():
        raise StorageError(f"{file} exists: an export replaces no file, so name another one")
    content, entries = exported(path, identity)
    write_atomically(file, content, mode=0o600)
    return entries


def exported(path: Path, identity: Identity) -> tuple[bytes, int]:
    """Verifies the ledger at `path`; the bytes of its export, and how many entries it has.

    Raises:
        StorageError: the ledger is damaged or not this site's.
    """
    with Journal(path, identity) as journal:
        journal.verify()
        with journal.reading() as state:
            lines = [canonical_json(line) for line in _lines(journal, state)]
            made = _Made(created=now(), entries=state.number, hash=state.hash.hex())
    signature = identity.sign(_LastLine(export=made, signature="").signed_bytes)
    lines.append(canonical_json({"export": made.model_dump(mode="json"), "signature": signature_to_text(signature)}))
    return b"\n".join(lines) + b"\n", made.entries


def read_export(file: Path) -> Export:
    """Reads an export and checks every hash, every signature and every list of members in it.

    Whose signatures they are is in `state.key`: it is for the caller to trust that key or not.

    Raises:
        StorageError: it cannot be read, is none, or is damaged; names the line.
    """
    try:
        lines = read_file(file, LARGE.longest).splitlines()
    except (OSError, UnreadableError) as error:
        raise StorageError(f"{file}: cannot be read ({why_not(error)}): give the file of an export") from None
    if not lines:
        raise StorageError(f"{file}: is empty: take an export that is whole")
    place = 0
    entries: list[SealedEntry] = []
    members: dict[int, tuple[bytes, bytes]] = {}
    try:
        for place, text in enumerate(lines[:-1], start=1):
            line = from_json(_Line, text, LARGE)
            entries.append(
                SealedEntry(canonical_json(line.entry), bytes.fromhex(line.hash), signature_from_text(line.signature))
            )
            if line.members is not None:
                members[place] = (line.members, line.records or b"")
        place = len(lines)
        last = from_json(_LastLine, lines[-1])
    except (UnreadableError, ValueError):
        raise StorageError(f"{file}, line {place}: is no line of an export that is whole: take another one") from None
    state = LedgerState()
    try:
        state.extend(entries, every_signature=True)
        for row in state.datasets.values():
            if members_digest(row.unit, *members.get(row.id, (b"", b""))) != row.members_digest:
                raise DamageError(row.id, "the list of its data set's members is missing or was changed")
    except DamageError as damage:
        raise StorageError(f"{file}, line {damage.number}: {damage.why}: take an export that is whole") from None
    if not _closes(last, state):
        raise StorageError(f"{file}, line {place}: does not close this export: take one that is whole")
    return Export(entries, state, members, last.export.created)


def require_continues(state: LedgerState, export: Export, file: Path) -> None:
    """Checks that a ledger in this state is the one that was exported, then or later.

    Raises:
        StorageError: entries that were exported are missing or differ; names the first.
    """
    exported = export.state.hashes
    for number, link in enumerate(exported, start=1):
        if number > state.number or state.hashes[number - 1] != link:
            raise StorageError(
                f"the privacy ledger differs from {file} (of {export.created}, {len(exported)} entries) from entry "
                f"{number} on: it was put back to an earlier state or exchanged, so restore the newest export"
            )


def _lines(journal: Journal, state: LedgerState) -> Iterator[dict[str, Any]]:
    datasets = {row.id: row for row in state.datasets.values()}
    for number, sealed in enumerate(journal.sealed_entries(), start=1):
        line = {
            "entry": sealed.fields,
            "hash": sealed.hash.hex(),
            "signature": signature_to_text(sealed.signature),
        }
        if number in datasets:
            keyed = journal.members(datasets[number])
            line["members"] = base64.b64encode(keyed.members_bytes).decode()
            line["records"] = base64.b64encode(keyed.records_bytes).decode()
        yield line


def _closes(last: _LastLine, state: LedgerState) -> bool:
    fits = (last.export.entries, last.export.hash) == (state.number, state.hash.hex())
    return fits and verify(state.key, signature_from_text(last.signature), last.signed_bytes)
