"""`sealora server person`: who logs in at the server's dashboard by a token of their own."""

from __future__ import annotations

from typing import Annotated

import typer

from sealora_common.show.say import say
from sealora_server.cli.server import CONFIG, ConfigFile
from sealora_server.deployment.config import DashboardSection
from sealora_server.deployment.directory import ServerDirectory


def person(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the person is called in the log and on pages.")],
    reader: Annotated[bool, typer.Option("--reader", help="One who may only look.")] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the token away; whoever has it is logged out.")
    ] = False,
    config: ConfigFile = CONFIG,
) -> None:
    """Make a token for a person, by which they log in at the server's dashboard as an operator, or take it away.

    A running server needs no restart.
    """
    from sealora_common.web.sessions import Role
    from sealora_server.dashboard.login.persons import PersonTokens

    server = ServerDirectory(config)
    people = PersonTokens(server.path / (server.config.dashboard or DashboardSection()).people)
    role = Role.READER if reader else Role.OPERATOR
    if remove:
        say(f"{people.remove(role, name)}: gone; {name} is no {role} any more")
        return
    say(f"{people.add(role, name)}: what {name} logs in with as {role}; give them what is in it, and nobody else")
