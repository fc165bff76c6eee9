"""`sealora-site backup` and `restore`: a site's directory in one file, and back."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sealora_common.errors import PolicyError
from sealora_common.show.say import say

if TYPE_CHECKING:
    from sealora_client.ledger.entries import Since

Directory = Annotated[Path, typer.Option("--directory", help="The site's directory.")]
PassphraseFile = Annotated[
    Path | None, typer.Option(help="A file with the archive's passphrase.", show_default="it is asked for")
]


class SpentSince(StrEnum):
    """What a person says of the time since a copy of the ledger was made."""

    NOTHING = "nothing"
    KNOWN_RUNS = "known-runs"


SpentSinceOption = Annotated[
    SpentSince | None,
    typer.Option(
        "--spent-since",
        help="What the site has done since: nothing, or taken part in runs that the copy knows and in no other, so "
        "that all they could yet take counts as spent.",
        show_default="it must be said",
    ),
]


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where it goes; nothing may be there.")],
    directory: Directory = Path(),
    passphrase_file: PassphraseFile = None,
    keys_open: Annotated[
        bool,
        typer.Option("--keys-open", help="Lock nothing: whoever has the file is this site, and can tell who is in it."),
    ] = False,
) -> None:
    """Write the site's directory to one file: keys, ledger, receipts, no records. The site may run meanwhile."""
    from sealora_client.upkeep.backup import back_up_site
    from sealora_common.archive.passphrase import archive_passphrase

    if keys_open and passphrase_file is not None:
        raise PolicyError("--keys-open and --passphrase-file exclude each other: leave one out")
    passphrase = None if keys_open else archive_passphrase(passphrase_file, new=True)
    made = back_up_site(directory.absolute(), file, passphrase)
    for left_out in made.left_out:
        say(f"NOT in it: {left_out}")
    say(f"{file}: {made.files} files, {made.entries} entries of the ledger, {'OPEN' if keys_open else 'locked'}")
    say("Records are not in it. What the site spends from now on is not in it either: make a new one after each run")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup of a site.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The site's directory, new or empty.")],
    spent_since: SpentSinceOption = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Put a site's directory back from a backup, so that nothing can be spent twice."""
    from sealora_client.upkeep.restore import restore_site
    from sealora_common.archive.passphrase import archive_passphrase

    ask = partial(archive_passphrase, passphrase_file, new=False)
    found = restore_site(file, directory.absolute(), ask, since_of(spent_since))
    manifest = found.manifest
    say(f"{directory}: site {manifest.name} with the key {manifest.fingerprint}, as it was {manifest.created}")
    if found.entries:
        said = "all that runs could yet take is spent" if found.closed else "nothing was spent since"
        say(f"the ledger has {found.entries} entries and says: {said}")
    if found.closed:
        say(f"takes no further part in {', '.join(run[:12] for run in found.closed)}")
        say(f"if it took part in any other run since, delete {directory}: what its records have spent is not known")
    say("If the old one still runs anywhere, stop it for good; put the records where site.yaml says; then:")
    say(f"sealora-site check --config {directory / 'site.yaml'}")


def since_of(spent_since: SpentSince | None) -> Since | None:
    """As the ledger writes it."""
    match spent_since:
        case SpentSince.NOTHING:
            return "nothing"
        case SpentSince.KNOWN_RUNS:
            return "known-runs"
    return None
