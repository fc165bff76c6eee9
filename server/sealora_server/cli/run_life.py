"""`sealora server archive`, `unarchive` and `delete`: what becomes of runs that are over."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sealora_common.show.say import say
from sealora_server.cli.server import CONFIG, ConfigFile, RunArgument
from sealora_server.deployment.directory import ServerDirectory, run_name
from sealora_server.deployment.errors import DeploymentError

ArchiveFile = Annotated[Path, typer.Argument(metavar="FILE", help="The archive.")]


def archive(
    run: RunArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where it goes; nothing may be there.")],
    config: ConfigFile = CONFIG,
) -> None:
    """Write a run that does not go on to one signed file, with all rounds, receipts and events. It stays here, too."""
    from sealora_common.identity import Identity
    from sealora_server.upkeep.archived_run import archive_run

    server = ServerDirectory(config)
    named = run_name(run)
    identity = Identity.load("server", server.identity)
    found = archive_run(server.runs / named, file, identity)
    say(found.text(file, named, identity))
    say(f"To check it, anywhere:  sealora server verify-archive {file}")
    say(f"To free the disk:  sealora server delete {named} --config {config}")


def unarchive(
    file: ArchiveFile,
    to: Annotated[
        Path | None, typer.Option(help="A new directory for it, instead of this server's runs; from any server.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Under another name. [default: the archive's]")] = None,
    config: ConfigFile = CONFIG,
) -> None:
    """Take a run out of its archive: `status` and `logs` show it again, and if unfinished it can be resumed."""
    from sealora_common.archive.read import opened_archive
    from sealora_common.identity import Identity
    from sealora_server.upkeep.archived_run import unarchive_run, unpack_run

    if to is not None:
        manifest = unpack_run(file, to)
        say(
            f"{to}: run {manifest.name} of the server with the key {manifest.fingerprint}, as it was {manifest.created}"
        )
        return
    server = ServerDirectory(config)
    with opened_archive(file, "run") as opened:
        named = run_name(name or opened.manifest.name)
    identity = Identity.load("server", server.identity)
    manifest = unarchive_run(file, server.runs / named, identity.public_key)
    say(f"run {named}: here again, as it was {manifest.created}")


def delete(
    run: RunArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the run's name again.")] = False,
    config: ConfigFile = CONFIG,
) -> None:
    """Delete a run that does not go on, with its adapters, receipts and evidence. It cannot be brought back."""
    from sealora_server.deployment.operator.messages import Delete
    from sealora_server.deployment.operator.socket import ask
    from sealora_server.deployment.operator.told import done_text
    from sealora_server.upkeep.deletion import what_is_lost

    named = run_name(run)
    server = ServerDirectory(config)
    for line in what_is_lost(server.runs / named):
        say(line)
    if not yes:
        if not sys.stdin.isatty():
            raise DeploymentError(f"run {named} was not deleted: add --yes where nobody can be asked")
        if typer.prompt("The run's name, to delete it") != named:
            raise DeploymentError(f"run {named} was not deleted: another name was given")
    act = Delete(run=named)
    ask(server.operator_socket, act)
    say(done_text(act))
