"""`sealora server check`, `backup`, `restore` and `verify-archive`: a server over the years."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sealora_common.show.say import say
from sealora_server.cli.server import CONFIG, ConfigFile
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.errors import DeploymentError

PassphraseFile = Annotated[
    Path | None, typer.Option(help="A file with the archive's passphrase.", show_default="it is asked for")
]


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where it goes; nothing may be there.")],
    passphrase_file: PassphraseFile = None,
    keys_open: Annotated[
        bool, typer.Option("--keys-open", help="Leave private keys in it open: whoever has the file is this server.")
    ] = False,
    config: ConfigFile = CONFIG,
) -> None:
    """Write the server's directory, keys and runs, to one file. The server may run, also in the middle of a round."""
    from sealora_common.archive.passphrase import archive_passphrase
    from sealora_server.upkeep.backup import back_up_server

    if keys_open and passphrase_file is not None:
        raise DeploymentError("--keys-open and --passphrase-file exclude each other: leave one out")
    server = ServerDirectory(config)
    passphrase = None if keys_open else archive_passphrase(passphrase_file, new=True)
    made = back_up_server(server, file, passphrase)
    for name, rounds in made.runs.items():
        say(f"run {name}: {rounds} rounds")
    for left_out in made.left_out:
        say(f"NOT in it: {left_out}")
    say(f"{file}: {server.path}, private keys {'OPEN' if keys_open else 'locked by the passphrase'}")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup of a server.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The server's directory, new or empty.")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Put a server's directory back from a backup, checked file by file. Runs go on at the server's next start."""
    from sealora_common.archive.passphrase import archive_passphrase
    from sealora_server.upkeep.backup import restore_server

    server, manifest = restore_server(file, directory, partial(archive_passphrase, passphrase_file, new=False))
    say(f"{server.path}: the server with the key {manifest.fingerprint}, as it was {manifest.created}")
    say("If the old one still runs anywhere, stop it for good before this one starts: sites know one server")
    say(f"Then:  sealora server check --config {server.config_file}")


def verify_archive(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An archive of a run, a server or a site.")],
) -> None:
    """Check an archive, every file of it, without any other file; say what it is of and whose signature it carries."""
    from sealora_server.upkeep.archived_run import verified

    manifest = verified(file)
    locked = sum(each.locked for each in manifest.files)
    say(f"{file}: {manifest.kind} {manifest.name}, made {manifest.created} by Sealora {manifest.release}")
    say(f"{len(manifest.files)} files, none changed; {locked} locked by a passphrase")
    say(f"signed by the key {manifest.fingerprint}: compare it")


def check(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    config: ConfigFile = CONFIG,
) -> None:
    """Try everything that a run will need of the server, and say what to do about what is not right.

    Exit status 1 if anything fails. Nothing is changed, and a server that is at work is not disturbed.
    """
    from sealora_common.show.findings import show_findings
    from sealora_server.check.preflight import server_preflight

    if not show_findings(server_preflight(ServerDirectory(config)), as_json=as_json, ready="This server is ready."):
        raise typer.Exit(1)
