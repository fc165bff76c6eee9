"""`sealora roster`: the coordinator's work on the list of sites that form a federation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sealora_common.card import SiteCard
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity
from sealora_common.roster import Member, Roster

roster_cli = typer.Typer(no_args_is_help=True, help="Create, change, sign and show the federation's roster.")

RosterFile = Annotated[Path, typer.Argument(help="The roster (JSON).")]
KeyFile = Annotated[Path, typer.Option("--key", help="The coordinator's private key.")]
COORDINATOR = Path("coordinator.pem")


@roster_cli.command()
def create(
    roster: RosterFile,
    consortium: Annotated[str, typer.Option(help="The federation's name.")],
    server: Annotated[
        str | None, typer.Option(help="The server's public key (hex), which signs orders and receipts.")
    ] = None,
    key: KeyFile = COORDINATOR,
    lock: Annotated[bool, typer.Option("--lock", help="Ask for a passphrase that locks a new key.")] = False,
) -> None:
    """Start a roster without members; makes the coordinator's key if it is not there."""
    if roster.exists():
        raise PolicyError(f"{roster} exists: add to it, or choose another file")
    if server is not None and not re.fullmatch(r"[0-9a-f]{64}", server):
        raise PolicyError(f"--server: {server!r} is no Ed25519 public key: give 64 lower-case hexadecimal digits")
    if key.exists():
        coordinator = Identity.load("coordinator", key)
    else:
        coordinator = Identity.create("coordinator", SystemEntropy())
        coordinator.save(key, _new_passphrase() if lock else None)
        typer.echo(f"{key}: new private key; keep it off the server, and keep a backup")
    draft = Roster(consortium=consortium, coordinator=coordinator.public_key.hex(), server=server)
    draft.save(roster)
    typer.echo(f"{roster}: no members yet. Sites pin this coordinator key: {draft.coordinator}")


@roster_cli.command()
def add(roster: RosterFile, cards: Annotated[list[Path], typer.Argument(help="Site cards (JSON).")]) -> None:
    """Add sites by their cards, or replace a site's keys. The roster must be signed again."""
    changed = Roster.load(roster, draft=True)
    for path in cards:
        card = SiteCard.load(path)
        changed = changed.with_member(Member(name=card.name, public_key=card.public_key, node_key=card.node_key))
    changed.save(roster)
    typer.echo(f"{roster}: {len(changed)} members, to be signed")


@roster_cli.command()
def remove(roster: RosterFile, name: Annotated[str, typer.Argument(help="The site's name.")]) -> None:
    """Remove a site. Once signed and distributed, it is out from the next round on."""
    changed = Roster.load(roster, draft=True).without_member(name)
    changed.save(roster)
    typer.echo(f"{roster}: {len(changed)} members, to be signed")


@roster_cli.command()
def sign(roster: RosterFile, key: KeyFile = COORDINATOR) -> None:
    """Sign the roster as it stands."""
    signed = Roster.load(roster, draft=True).signed(Identity.load("coordinator", key))
    signed.save(roster)
    typer.echo(f"{roster}: signed. Fingerprint, to be read out to every site: {signed.fingerprint}")


@roster_cli.command()
def show(roster: RosterFile) -> None:
    """Show the members, the fingerprint, and whether the signature holds."""
    shown = Roster.load(roster, draft=True)
    table = Table("site", "identity (Ed25519)", "node key")
    for member in shown.members:
        table.add_row(member.name, member.public_key, "yes" if member.node_key else "no")
    console = Console()
    console.print(table)
    console.print(f"consortium   {shown.consortium}", highlight=False)
    console.print(f"coordinator  {shown.coordinator}", highlight=False)
    console.print(f"server       {shown.server or 'none: orders and receipts cannot be signed'}", highlight=False)
    console.print(f"fingerprint  {shown.fingerprint}", highlight=False)
    console.print(f"signature    {'holds' if shown.is_signed else 'MISSING OR FALSE: sign it'}", highlight=False)
    if not shown.is_signed:
        raise typer.Exit(1)


def _new_passphrase() -> bytes:
    return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True)).encode()
