"""`sealora-site roster`: what the site's roster says, and the site's co-signature of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sealora_client.site.config import SiteConfig
from sealora_client.site.seen_rosters import check_roster, remember_roster
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity, key_fingerprint, short_form
from sealora_common.roster import Cosignature, Roster
from sealora_common.show.say import say

roster_cli = typer.Typer(no_args_is_help=True, help="The roster that this site takes part by.")

Directory = Annotated[Path, typer.Argument(help="The site's directory.")]
RosterFile = Annotated[
    Path | None, typer.Option("--roster", help="A roster that is not in place yet. [default: DIRECTORY/roster.json]")
]


@roster_cli.command()
def show(directory: Directory = Path(), roster: RosterFile = None) -> None:
    """Check the roster and show its members, and the fingerprint to compare with the coordinator by telephone."""
    file = roster or directory / "roster.json"
    shown = Roster.load(file, coordinator=SiteConfig.load(directory / "site.yaml").coordinator)
    check_roster(directory, shown, datetime.now(UTC), file)
    for member in shown.members:
        say(f"member       {member.name}  {member.fingerprint}")
    say(f"coordinator  {short_form(bytes.fromhex(shown.coordinator_pin))}")
    say(f"server       {'none' if shown.server is None else key_fingerprint(shown.server_key)}")
    say(f"number       {shown.sequence}, until {shown.expires}")
    say(f"co-signed    {', '.join(shown.cosigners) or 'by no member'}")
    say(f"fingerprint  {shown.fingerprint}")


@roster_cli.command()
def cosign(
    directory: Directory = Path(),
    roster: RosterFile = None,
    out: Annotated[Path | None, typer.Option(help="Where it goes. [default: DIRECTORY/NAME.cosignature.json]")] = None,
) -> None:
    """Co-sign the roster, once its fingerprint has been compared: the file that this writes goes to the coordinator.

    The roster counts as used from then on: this site takes no other of its number.
    """
    file = roster or directory / "roster.json"
    config = SiteConfig.load(directory / "site.yaml")
    signed = Roster.load(file, coordinator=config.coordinator)
    check_roster(directory, signed, datetime.now(UTC), file)
    identity = Identity.load(config.name, directory / "identity.pem")
    if signed.public_key(signed.index(config.name)) != identity.public_key:
        raise PolicyError(
            f"{file}: the key it lists for {config.name!r} is not this site's: send the coordinator this site's card "
            "again"
        )
    remember_roster(directory, signed)
    path = out or directory / f"{config.name}.cosignature.json"
    Cosignature.create(identity, signed.sequence, signed.hash).save(path)
    say(f"{path}: roster number {signed.sequence}, {signed.fingerprint}, co-signed; send it to the coordinator")
