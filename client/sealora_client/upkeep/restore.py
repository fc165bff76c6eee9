"""A site put back from a backup, without anything being spent twice.

A backup's ledger does not know what left after it was made, and neither does anybody whom the site could believe: a
server may tell less than there was. So a person must say what the site did since, in one of two ways, and the ledger
says for ever which: nothing (it was stopped, or its machine was lost at that time); or that it took part in runs that
the backup knows, and in no other. In the latter case all that these runs could yet take counts as spent, and the site
takes no further part in them. If neither is true, nothing tells what its records have spent, and it must not be put
back. A backup from before the first charge is no exception: it knows of no run, and forgets all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sealora_client.ledger import LEDGER, Ledger
from sealora_client.ledger.entries import Since
from sealora_client.ledger.recovery import restore_ledger
from sealora_client.round.closed_runs import close_runs
from sealora_client.site.config import SiteConfig
from sealora_client.site.enrolment import IDENTITY
from sealora_client.upkeep.backup import EXPORTED_LEDGER
from sealora_common.archive.manifest import Manifest
from sealora_common.archive.read import Passphrase, opened_archive, require_free
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity

HOW_TO_SAY = (
    "say what this site has done since, with --spent-since: `nothing` if it has not run; `known-runs` if it took part "
    "in runs that it had been charged for or had sent something in by then, with the records that it had then, and in "
    "no other, so that all these could yet take counts as spent; if it may have taken part in others, nothing tells "
    "what its records have spent: do not put it back, they must not be used again"
)


@dataclass(frozen=True)
class RestoredSite:
    """What was put back.

    Attributes:
        manifest: of the backup.
        entries: of the ledger now; 0 if there is none.
        closed: the runs in which the site takes no further part.
    """

    manifest: Manifest
    entries: int
    closed: tuple[str, ...]


def restore_site(file: Path, directory: Path, passphrase: Passphrase, since: Since | None) -> RestoredSite:
    """Puts a site's directory back where nothing is.

    Args:
        file: the backup.
        directory: new, or empty.
        passphrase: asked for if it is locked.
        since: what a person says of the time since the backup was made; None: nothing is said.

    Raises:
        PolicyError: nothing is said, or of known runs, and the backup knows of none; or it is another key's.
        StorageError: the archive was changed or cut short, the passphrase is wrong, something is there already, or the
            ledger does not say how long a run may go on.
    """
    require_free(directory)
    with opened_archive(file, "site") as archive:
        if since is None:
            raise PolicyError(f"{file}: was made {archive.manifest.created}: {HOW_TO_SAY}")
        closed: list[str] = []
        archive.extract(directory, passphrase, finish=_settle(archive.manifest, since, closed))
        ledger, entries = directory / LEDGER, 0
        if ledger.exists():
            with Ledger(ledger, Identity.load(archive.manifest.name, directory / IDENTITY)) as opened:
                entries = opened.verify().entries
        return RestoredSite(archive.manifest, entries, tuple(closed))


def _settle(manifest: Manifest, since: Since | None, closed: list[str]) -> Callable[[Path], None]:
    def settle(made: Path) -> None:
        config = SiteConfig.load(made / "site.yaml")
        identity = Identity.load(config.name, made / IDENTITY)
        if identity.public_key_text != manifest.public_key:
            raise PolicyError("the backup was signed by another key than its site's: take another copy of it")
        export = made / EXPORTED_LEDGER
        runs: set[str] = set()
        if export.exists():
            restore_ledger(export, made / LEDGER, identity, since=since)
            export.unlink()
            with Ledger(made / LEDGER, identity) as ledger:
                runs = {row.run for row in ledger.charges()}
        if since == "known-runs":
            with suppress(FileNotFoundError):
                runs |= {path.name.partition(".")[0] for path in (made / "outbox").iterdir()}
            with suppress(FileNotFoundError):
                runs |= {path.name.partition(".")[0] for path in (made / "receipts").glob("*.jsonl")}
            if not runs:
                raise PolicyError(
                    f"the backup of {manifest.created} knows of no run, so what the site took part in since is in none "
                    "that it knows: say `nothing` if it has not run, else do not put it back"
                )
            close_runs(made, sorted(runs))
            closed.extend(sorted(runs))

    return settle
