"""A site's directory in one file, also while the site is at work and in the middle of a round.

In it: settings, policy, recipe, rosters, keys, receipts, the site's own history, what it sent, what it keeps of rounds
and of runs that are over, and the ledger as an export. All of it is locked by the archive's passphrase: the ledger
tells who is in the data. Never in it: records, the base model, and anything else that lies in the directory. Charges
and releases stand still while files are copied, so no vector leaves between the ledger and what goes with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sealora_client.delivery.kept_run import RUNS
from sealora_client.ledger import LEDGER, Ledger, has_ledger
from sealora_client.ledger.export import exported
from sealora_client.operator.departure import DEPARTURE
from sealora_client.operator.sent_log import SENT_BEFORE, SENT_LOG
from sealora_client.round.closed_runs import CLOSED
from sealora_client.site.config import SiteConfig
from sealora_client.site.enrolment import IDENTITY
from sealora_client.site.seen_rosters import SEEN
from sealora_common.archive.write import new_archive
from sealora_common.config import LARGE, LONGEST_TENSORS, read_file, why_not
from sealora_common.errors import StorageError, UnreadableError
from sealora_common.export.peft_directory import WEIGHTS
from sealora_common.identity import Identity
from sealora_common.records.names import HISTORY

EXPORTED_LEDGER = "ledger.export.jsonl"
"""The ledger's name in an archive."""
_FILES = (
    *("site.yaml", "policy.yaml", "recipe.yaml", "roster.json", SEEN, IDENTITY, HISTORY),
    *(DEPARTURE, SENT_BEFORE, SENT_LOG),
)
_DIRECTORIES = ("receipts", "outbox", CLOSED, RUNS)


@dataclass(frozen=True)
class SiteBackup:
    """What was backed up.

    Attributes:
        files: how many files are in it.
        entries: of the ledger; 0 if there is none yet.
        left_out: what is not in it, and why, a sentence each.
    """

    files: int
    entries: int
    left_out: tuple[str, ...]


def back_up_site(directory: Path, file: Path, passphrase: bytes | None) -> SiteBackup:
    """Writes a site's directory to one file.

    Args:
        directory: the site's.
        file: where it goes; nothing may be there.
        passphrase: locks all of it; None leaves all of it open.

    Raises:
        PolicyError: there is no site in the directory.
        StorageError: a file cannot be read, the ledger is damaged, or the archive cannot be written.
    """
    config = SiteConfig.load(directory / "site.yaml")
    identity = Identity.load(config.name, directory / IDENTITY)
    ledger, entries = directory / LEDGER, 0
    left_out = []
    with (
        new_archive(file, kind="site", name=config.name, identity=identity, passphrase=passphrase) as writer,
        ExitStack() as stack,
    ):
        if has_ledger(ledger):
            stack.enter_context(stack.enter_context(Ledger(ledger, identity)).held())
            content, entries = exported(ledger, identity)
            writer.add(EXPORTED_LEDGER, content, locked=True)
        for path in _own_files(directory, config):
            if not path.is_relative_to(directory) or ".." in path.parts:
                left_out.append(f"{path}, which lies outside of the site's directory")
            elif path.exists():
                writer.add(path.relative_to(directory).as_posix(), _content(path), locked=True)
        files = len(writer.paths)
    return SiteBackup(files, entries, tuple(left_out))


def _own_files(directory: Path, config: SiteConfig) -> Iterator[Path]:
    """By name: whatever else lies there may be records."""
    yield from (directory / name for name in _FILES)
    yield directory / config.node_key
    if config.ca is not None:
        yield directory / config.ca
    yield directory / f"{config.name}.card.json"
    for name in _DIRECTORIES:
        # Backwards by name: of a run that is over its conclusion comes before the adapter that it says is whole.
        for path in sorted((directory / name).rglob("*"), reverse=True):
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(directory).parts):
                yield path


def _content(path: Path) -> bytes:
    try:
        is_long = path.parent.name == "outbox" or path.name == WEIGHTS
        return read_file(path, LONGEST_TENSORS if is_long else LARGE.longest)
    except (OSError, UnreadableError) as error:
        raise StorageError(f"{path}: cannot be read ({why_not(error)}): give this account the right to") from None
