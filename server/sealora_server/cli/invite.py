"""`sealora server invite`: one file for each site that is to join."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_common.recipe import load_recipe
from sealora_common.show.say import say
from sealora_server.cli.server import CONFIG, ConfigFile
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.errors import DeploymentError


def invite(
    recipe: Annotated[Path, typer.Option(help="The recipe (YAML) that is to be trained.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="The sites. [default: all of a signed roster]")
    ] = None,
    roster: Annotated[Path | None, typer.Option(help="The coordinator's roster, signed or just begun.")] = None,
    coordinator: Annotated[
        Path | None, typer.Option(help="Before there is a roster: the file of the coordinator's public key.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Where sites reach the server. [default: the first of hosts, the port of listen]")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")] = Path(),
    config: ConfigFile = CONFIG,
) -> None:
    """Write an invitation for each site: server, its authority, the coordinator's key, recipe, and the signed roster.

    A site joins with it (`sealora-site join`): first without a roster, to make its card, then with the signed one.
    Nothing in it is secret.
    """
    from sealora_server.deployment.inviting import Coordination, invite

    if (roster is None) == (coordinator is None):
        raise DeploymentError(
            "whose federation it is: give the coordinator's roster with --roster, or, before there is one, the "
            "coordinator's public key with --coordinator"
        )
    known = Coordination.of_roster(roster) if roster is not None else Coordination.of_key(coordinator or Path())
    agreed = load_recipe(recipe)
    written = invite(ServerDirectory(config), names or [], agreed, known, url=url, directory=out)
    for each in written:
        what = "to make its card by" if each.begins else f"with roster number {known.roster and known.roster.sequence}"
        say(f"{each.file}: for {each.invitation.site}, {what}; send it")
    first = written[0].invitation
    say(f"server       {first.server}")
    say(f"recipe       {agreed.name}, hash {agreed.hash}")
    if agreed.model.digest is None:
        say(
            f"WARNING      {recipe} names no model.digest, so sites cannot tell whether they have one base model: "
            "`sealora-site model pin` writes it in"
        )
    say(f"coordinator  {first.coordinator_fingerprint}  which the coordinator, not you, reads out to every site")
