"""`sealora-site join`: a site joins by the invitation it was sent, in two steps."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from sealora_client.cli.check import check
from sealora_client.cli.joining.passphrase import new_passphrase, no_passphrase
from sealora_common.errors import PolicyError
from sealora_common.invitation import Invitation
from sealora_common.show.say import say

if TYPE_CHECKING:
    from sealora_client.joining.steps import Offer
    from sealora_client.site.config import SiteConfig


def join(
    invitation: Annotated[Path, typer.Argument(metavar="INVITATION", help="What the server's operator sent.")],
    data: Annotated[
        Path | None, typer.Option(help="This site's records, see docs/data.md. Needed the first time.")
    ] = None,
    directory: Annotated[Path, typer.Option("--directory", help="The site's directory, new or not.")] = Path(),
    coordinator_fingerprint: Annotated[
        str | None,
        typer.Option(
            "--coordinator-fingerprint", help="What the coordinator read out. [default: asked for, the first time]"
        ),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            metavar="FIELD",
            help="A line of the policy that may be as loose as the recipe asks; `recipe` for one that was changed.",
        ),
    ] = None,
    lock: Annotated[bool, typer.Option("--lock", help="Lock the private keys by a passphrase.")] = False,
) -> None:
    """Join a federation: the first time make this site's card, and with the signed roster put all in place.

    The first time it shows what this site agrees to and writes a policy that allows that and no more. The second time
    it checks the roster, puts it in place with recipe and authority, and looks whether all is ready. Keys stay here.
    """
    from sealora_client.joining.steps import has_begun

    opened = Invitation.load(invitation)
    if has_begun(directory):
        _go_on(opened, invitation, directory, data, coordinator_fingerprint, accept or [])
        return
    if data is None:
        raise PolicyError(f"{directory}: no site has begun here: name this site's records with --data to begin")
    _begin(opened, invitation, directory, data, coordinator_fingerprint, accept or [], lock)


def _begin(
    opened: Invitation,
    source: Path,
    directory: Path,
    data: Path,
    fingerprint: str | None,
    accepted: list[str],
    lock: bool,
) -> None:
    from sealora_client.joining.steps import begin, offer, require_fingerprint
    from sealora_client.site.enrolment import IDENTITY, NODE_KEY

    offered = offer(opened, source, directory, data, accepted)
    _show(offered, directory)
    require_fingerprint(opened, fingerprint or _asked())
    begun = begin(offered, directory, new_passphrase if lock else no_passphrase)
    say(f"{directory / IDENTITY}, {directory / NODE_KEY}: this site's private keys; they never leave it")
    say(f"{begun.policy_file}: what no server can override; change it whenever you like")
    say(f"Next: send {begun.card_file} to the coordinator, and read this out by telephone: {begun.card.fingerprint}")
    say(f"Then: `sealora-site join` again with the invitation that has the signed roster, --directory {directory}")


def _show(offered: Offer, directory: Path) -> None:
    from sealora_client.joining.agreement import agreement_lines, exceeded_lines

    opened, fitting = offered.invitation, offered.fitting
    say(f"{opened.site} would agree to this:")
    for word, sentence in agreement_lines(opened, fitting.policy, offered.records):
        say(f"  {word:<11} {sentence}")
    if fitting:
        return
    if offered.own_policy:
        for verdict in fitting.exceeded:
            say(f"{directory / 'policy.yaml'}: refuses the recipe: {verdict}: edit that line if this site agrees to it")
    else:
        for line in exceeded_lines(fitting, opened.parsed_recipe):
            say(line)
    count = len(fitting.exceeded)
    raise PolicyError(
        f"the recipe exceeds this site's policy in {count} {'line' if count == 1 else 'lines'}, told above, and "
        "nothing was written: agree to each, or ask the consortium for another recipe"
    )


def _go_on(
    opened: Invitation,
    source: Path,
    directory: Path,
    data: Path | None,
    fingerprint: str | None,
    accepted: list[str],
) -> None:
    from sealora_client.joining.in_place import agree_to, agreed_recipe
    from sealora_client.joining.steps import complete, require_accepted, require_fingerprint, require_same_site
    from sealora_common.identity.card import SiteCard

    config = require_same_site(opened, source, directory)
    if data is not None and data.absolute() != (directory / config.data).absolute():
        raise PolicyError(
            f"--data {data}: {directory / 'site.yaml'} names {config.data}: correct it there, and leave the option out"
        )
    if fingerprint is not None:
        require_fingerprint(opened, fingerprint)
    require_accepted(opened, source, directory, accepted)
    if agreed_recipe(directory) is None or accepted:
        _show_agreed(opened, directory, config)
    if opened.roster is None:
        agree_to(directory, opened)
        card = directory / f"{config.name}.card.json"
        say(f"{source}: has no roster yet, and {config.name} has begun in {directory}; it stays as it is")
        say(f"Next: send {card} to the coordinator, and read this out by telephone: {SiteCard.load(card).fingerprint}")
        say("Then: run this again with the invitation that has the signed roster")
        return
    anything_done = complete(opened, source, directory, config, datetime.now(UTC))
    run = f"sealora-site run --config {directory / 'site.yaml'}"
    if not anything_done:
        say(f"{directory}: all of this invitation is in place, and nothing is left to do but `{run}`")
        return
    say(f"{directory}: roster, recipe and authority are in place. On the roster, number {opened.roster.sequence}, are:")
    for member in opened.roster.members:
        say(f"  {member.name:<24} {member.fingerprint}")
    say(f"Compare the roster's fingerprint with the coordinator's by telephone: {opened.roster.fingerprint}")
    check(directory / "site.yaml", quick=True)
    say(f"Next: `{run}`")


def _show_agreed(opened: Invitation, directory: Path, config: SiteConfig) -> None:
    from sealora_client.data.load import read_records_of
    from sealora_client.joining.agreement import agreement_lines
    from sealora_client.site.policy import SitePolicy

    records = len(read_records_of(directory / config.data, opened.parsed_recipe).train_set)
    say(f"{opened.site} agrees to this:")
    for word, sentence in agreement_lines(opened, SitePolicy.load(directory / "policy.yaml"), records):
        say(f"  {word:<11} {sentence}")


def _asked() -> str:
    """The fingerprint, from a person who has the coordinator on the telephone."""
    try:
        return str(typer.prompt("Call the coordinator, at a number not from this mail. The fingerprint they read out"))
    except click.Abort:
        raise PolicyError(
            "no fingerprint of the coordinator's key was typed: have it read out by telephone, and give it with "
            "--coordinator-fingerprint"
        ) from None
