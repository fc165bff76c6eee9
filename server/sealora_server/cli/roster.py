"""`sealora roster`: the coordinator's work on the list of sites that form a federation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sealora_common.entropy import SystemEntropy
from sealora_common.errors import PolicyError
from sealora_common.identity import (
    Identity,
    key_fingerprint,
    key_from_text,
    key_to_text,
    read_public_key,
    write_public_key,
)
from sealora_common.identity.card import SiteCard
from sealora_common.roster import TERM, Cosignature, Member, Roster, check_consortium
from sealora_common.show.console import SafeConsole, keep_rows_whole
from sealora_common.show.say import say

roster_cli = typer.Typer(no_args_is_help=True, help="Create, change, sign and show the federation's roster.")

RosterFile = Annotated[Path, typer.Argument(help="The roster (JSON).")]
KeyFile = Annotated[Path, typer.Option("--key", help="The coordinator's private key.")]
COORDINATOR = Path("coordinator.pem")


@roster_cli.command()
def create(
    roster: RosterFile,
    consortium: Annotated[str, typer.Option(help="The federation's name.")],
    server: Annotated[
        Path | None,
        typer.Option(help="File of the server's public key (its identity.pub), which signs orders and receipts."),
    ] = None,
    key: KeyFile = COORDINATOR,
    lock: Annotated[bool, typer.Option("--lock", help="Ask for a passphrase that locks a new key.")] = False,
) -> None:
    """Start a roster without members; makes the coordinator's key if it is not there."""
    if roster.exists():
        raise PolicyError(f"{roster} exists: add to it, or choose another file")
    server_key = None if server is None else read_public_key(server)
    check_consortium(consortium)
    if key.exists():
        coordinator = Identity.load("coordinator", key)
    else:
        coordinator = Identity.create("coordinator", SystemEntropy())
        coordinator.save(key, _new_passphrase() if lock else None)
        say(f"{key}: new private key; keep it off the server, and keep a backup")
        write_public_key(key.with_suffix(".pub"), coordinator.public_key)
        say(f"{key.with_suffix('.pub')}: its public half; with it the server's operator can invite sites")
    Roster(
        consortium=consortium,
        coordinator=coordinator.public_key_text,
        server=key_to_text(server_key) if server_key else None,
    ).save(roster)
    if server_key is not None:
        say(f"server       {key_fingerprint(server_key)}  compare it with the server's operator")
    say(f"coordinator  {coordinator.fingerprint}  to be read out to every site")
    say(f"{roster}: no members yet. Sites pin this coordinator key: {coordinator.pin}")


@roster_cli.command()
def add(roster: RosterFile, cards: Annotated[list[Path], typer.Argument(help="Site cards (JSON).")]) -> None:
    """Add sites by their cards, or replace a site's keys. The roster must be signed again."""
    changed = _load(roster)
    for path in cards:
        card = SiteCard.load(path)
        changed = changed.with_member(Member(name=card.name, public_key=card.public_key, node_key=card.node_key))
        say(f"{card.fingerprint}  {card.name}: compare it with the site by telephone")
    changed.save(roster)
    say(f"{roster}: {len(changed)} members, to be signed")


@roster_cli.command()
def remove(roster: RosterFile, name: Annotated[str, typer.Argument(help="The site's name.")]) -> None:
    """Remove a site. Once signed and distributed, it is out from the next round on."""
    changed = _load(roster).without_member(name)
    changed.save(roster)
    say(f"{roster}: {len(changed)} members, to be signed")


@roster_cli.command()
def sign(
    roster: RosterFile,
    key: KeyFile = COORDINATOR,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it can be used.")] = TERM.days,
) -> None:
    """Sign the roster as it stands, under the next number. One that is signed already is renewed.

    Sites refuse a second roster of a number that they have used, so keep the signed file: a change starts from it.
    """
    draft = _load(roster).draft()
    signed = draft.signed(Identity.load("coordinator", key), term=timedelta(days=days))
    signed.save(roster)
    say(f"{roster}: signed as number {signed.sequence}, until {signed.expires}")
    say(f"{roster}: signed. Fingerprint, to be read out to every site: {signed.fingerprint}")


@roster_cli.command("add-cosignature")
def add_cosignature(
    roster: RosterFile, cosignatures: Annotated[list[Path], typer.Argument(help="Members' co-signatures (JSON).")]
) -> None:
    """Merge in what members wrote with `sealora-site roster cosign`. The roster's hash stays as it is."""
    merged = Roster.load(roster).with_cosignatures(map(Cosignature.load, cosignatures))
    merged.save(roster)
    say(f"{roster}: co-signed by {', '.join(merged.cosigners)}")


@roster_cli.command()
def show(roster: RosterFile) -> None:
    """Show the members, the fingerprints, who co-signed, and whether the signature holds and the term lasts."""
    shown = Roster.load(roster, draft=True)
    cosigners, expired = shown.cosigners, shown.has_expired(datetime.now(UTC))
    table = Table()
    for heading in ("site", "fingerprint of its key", "node key", "co-signed"):
        table.add_column(heading, overflow="fold")
    for member in shown.members:
        marks = ("yes" if member.node_key else "no", "yes" if member.name in cosigners else "no")
        table.add_row(member.name, member.fingerprint, *marks)
    console = SafeConsole()
    keep_rows_whole(console)
    console.print(table)
    server = key_fingerprint(shown.server_key) if shown.server else "none: orders and receipts cannot be signed"
    lines = {
        "consortium": shown.consortium,
        "coordinator": f"{key_fingerprint(key_from_text(shown.coordinator))} (pin {shown.coordinator_pin})",
        "server": server,
        "number": f"{shown.sequence}, after {'none' if shown.sequence == 1 else shown.previous[:12]}",
        "expires": "not signed yet" if shown.expires is None else shown.expires + (" EXPIRED: sign it" * expired),
        "fingerprint": shown.fingerprint,
        "signature": _on_signature(shown),
    }
    for name, value in lines.items():
        console.print(f"{name:<12} {value}", highlight=False, markup=False, soft_wrap=True)
    if not shown.is_signed or expired:
        raise typer.Exit(1)


@roster_cli.command("coordinator")
def show_coordinator(roster: RosterFile) -> None:
    """Print the fingerprint of the coordinator's key alone: what the coordinator reads out to every site."""
    say(key_fingerprint(key_from_text(Roster.load(roster, draft=True).coordinator)))


def _on_signature(roster: Roster) -> str:
    if roster.is_signed:
        return "holds"
    return "FALSE: the file was changed after it was signed, put it back" if roster.signature else "MISSING: sign it"


def _load(path: Path) -> Roster:
    """A roster to be changed or signed.

    Raises:
        PolicyError: it cannot be read, or somebody changed it after it was signed.
    """
    roster = Roster.load(path, draft=True)
    if roster.signature and not roster.is_signed:
        raise PolicyError(
            f"{path}: was changed after it was signed, so nothing can follow it: put the signed file back, and change "
            "it by `sealora roster add` and `remove` alone"
        )
    return roster


def _new_passphrase() -> bytes:
    return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True)).encode()
