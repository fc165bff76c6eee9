"""`sealora server approve` and `refuse`: the second person's word, on a server that demands it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sealora_common.show.safe_text import safe_text
from sealora_common.show.say import say
from sealora_server.cli.server import CONFIG, ConfigFile, RunArgument
from sealora_server.deployment.directory import ServerDirectory, run_name
from sealora_server.deployment.errors import DeploymentError


def approve(
    run: RunArgument,
    digest: Annotated[
        str | None,
        typer.Option(help="What you have looked at, as `status --json` and this command show it: nothing is asked."),
    ] = None,
    config: ConfigFile = CONFIG,
) -> None:
    """Approve a run that another person has asked for, exactly as it is shown. It begins when its turn has come.

    This account must be among `approval.approvers` in server.yaml, as `account:NAME`.
    """
    from sealora_server.deployment.operator.admission import status_of_run
    from sealora_server.deployment.operator.approval import shown_run
    from sealora_server.deployment.operator.messages import Approve, AskStatus, status_of
    from sealora_server.deployment.operator.socket import ask
    from sealora_server.deployment.operator.told import done_text

    named = run_name(run)
    server = ServerDirectory(config)
    told = status_of_run(status_of(ask(server.operator_socket, AskStatus())), named)
    if told.approval is None:
        raise DeploymentError(f"run {named!r} is {told.condition}: nothing of it waits for approval")
    directory = server.runs / named
    shown = shown_run(directory, told.approval.digest)
    recipe, roster = shown.recipe, shown.roster
    say(f"run {named}: {safe_text(told.approval.asked_by)} asked for it, {told.approval.asked_at}")
    say(f"{directory / 'recipe.yaml'}: recipe {recipe.name}, hash {recipe.hash}")
    say(f"{directory / 'roster.json'}: roster {roster.fingerprint}: {', '.join(roster.names)}")
    say(f"digest of both: {told.approval.digest}")
    if digest is None:
        if not sys.stdin.isatty():
            raise DeploymentError(f"run {named} was not approved: give its digest with --digest where nobody is asked")
        if not typer.confirm("Approve this run?"):
            raise DeploymentError(f"run {named} was not approved")
    act = Approve(run=named, digest=digest or told.approval.digest)
    ask(server.operator_socket, act)
    say(f"{done_text(act)}: see `sealora server status`")


def refuse(run: RunArgument, config: ConfigFile = CONFIG) -> None:
    """Refuse a run that another person has asked for. It is kept; `resume` asks again, `delete` deletes it."""
    from sealora_server.deployment.operator.messages import Refuse
    from sealora_server.deployment.operator.socket import ask
    from sealora_server.deployment.operator.told import done_text

    act = Refuse(run=run_name(run))
    ask(ServerDirectory(config).operator_socket, act)
    say(f"{done_text(act)}. To ask again:  sealora server resume {act.run} --config {config}")
