"""`sealora server`: makes, runs and operates an aggregation server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sealora_common.identity.card import SiteCard
from sealora_common.recipe import load_recipe
from sealora_common.roster import Roster
from sealora_common.show.console import SafeConsole
from sealora_common.show.say import say, say_json
from sealora_server.cli.server_status import show_status, watch_status
from sealora_server.cli.submitted import show_submitted
from sealora_server.deployment.directory import ServerDirectory, run_name
from sealora_server.deployment.errors import DeploymentError

if TYPE_CHECKING:
    from sealora_server.deployment.operator.messages import Act, Request, Result, Status

server_cli = typer.Typer(no_args_is_help=True, help="Make, run and operate an aggregation server.")
certificate_cli = typer.Typer(no_args_is_help=True, help="The server's TLS certificate.")
server_cli.add_typer(certificate_cli, name="certificate")

ConfigFile = Annotated[Path, typer.Option("--config", envvar="SEALORA_SERVER_CONFIG", help="The server's server.yaml.")]
CONFIG = Path("server.yaml")
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")]


@server_cli.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The server's directory, new or empty.")],
    host: Annotated[
        list[str], typer.Option("--host", metavar="NAME", help="A name or address under which sites reach the server.")
    ],
    listen: Annotated[
        str | None, typer.Option(metavar="ADDRESS:PORT", help="Where it listens. [default: 0.0.0.0:9443]")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="A certificate of your own (PEM, with its chain).")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    ca: Annotated[Path | None, typer.Option(help="The authority that sites pin; none: a public one.")] = None,
) -> None:
    """Make a server's directory: configuration, certificates, and the identity that signs orders and receipts."""
    from sealora_server.deployment.initialise import AUTHORITY_KEY, OwnCertificate, initialise

    if (certificate is None) != (key is None) or (ca is not None and certificate is None):
        raise DeploymentError("--certificate, --key and --ca belong together: give the first two at least, or none")
    own = OwnCertificate(certificate, key, ca) if certificate is not None and key is not None else None
    server, identity = initialise(directory, host, listen=listen, own=own)
    say(f"{server.config_file}: the server's configuration; start it with `sealora server run --config` this")
    if own is None:
        say(f"{server.ca}: what sites pin; each invitation holds it")
        say(f"{server.path / AUTHORITY_KEY}: needed only to renew the certificate; better kept off this machine")
    say(f"{server.identity}: signs the orders and receipts of every run; keep a backup")
    say(f"{server.public_key}: its public half; the coordinator needs it for `sealora roster create --server`")
    say(f"Fingerprint of that key, to be read out to the coordinator: {identity.fingerprint}")


@certificate_cli.command()
def renew(config: ConfigFile = CONFIG) -> None:
    """Replace the server's certificate and key. A running server takes them at once; sites need nothing."""
    from sealora_server.deployment.initialise import renew_certificate

    server = ServerDirectory(config)
    expires = renew_certificate(server)
    say(f"{server.certificate}: new, valid until {expires:%Y-%m-%d}")


@server_cli.command()
def run(config: ConfigFile = CONFIG) -> None:
    """Run the server until it is stopped with Ctrl-C or SIGTERM. Runs go on where they were."""
    from sealora_server.deployment.supervisor import run_server

    run_server(ServerDirectory(config))


@server_cli.command("nginx-config")
def nginx_config(
    config: ConfigFile = CONFIG,
    account: Annotated[str, typer.Option(help="The user and group that the server runs under.")] = "sealora-server",
    destination: Annotated[Path, typer.Option(help="Where the file will lie.")] = Path("/etc/sealora/nginx.conf"),
) -> None:
    """Print nginx' configuration for an nginx of your own as the front (`front: none`)."""
    from sealora_server.deployment.front.nginx import nginx_config as rendered

    user, _, group = account.partition(":")
    say(rendered(ServerDirectory(config), destination, (user, group or user)).rstrip("\n"), lines=True)


@server_cli.command()
def submit(
    recipe: Annotated[Path, typer.Argument(help="A recipe (YAML), see configs/.")],
    roster: Annotated[Path, typer.Option(help="The roster, signed by the coordinator.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="For example privacy.epsilon=4.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The run's name. [default: the recipe's]")] = None,
    continue_from: Annotated[
        Path | None, typer.Option(help="Begin with the adapter of this earlier run, or in this directory.")
    ] = None,
    wait: Annotated[
        bool | None,
        typer.Option(
            "--wait/--no-wait",
            help="Wait until the run has ended: exit status 0 if it is finished, 1 if not. Or not at all.",
            show_default="until it is in line, or it is known which sites take part",
        ),
    ] = None,
    config: ConfigFile = CONFIG,
) -> None:
    """Start a run of a recipe among the sites of a roster, let these sites connect, and show which take part.

    While another run with one of its sites goes on, it is put in line and begins when its turn has come. Where the
    server demands it (`approval` in server.yaml), another person must approve it first.
    """
    import yaml

    from sealora_server.deployment.operator.messages import Submit
    from sealora_server.deployment.operator.told import submitted_text

    parsed = load_recipe(recipe, overrides or [])
    text = yaml.safe_dump(parsed.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    named = run_name(name or parsed.name)
    # Both were read here, so that a complaint names the file.
    start = None if continue_from is None else str(continue_from.resolve())
    signed = Roster.load(roster).model_dump_json()
    _ask(config, Submit(name=named, recipe=text, roster=signed, continue_from=start))
    say(submitted_text(named, parsed.hash))
    say(f"Follow it with:  sealora server logs {named} --follow --config {config}")
    show_submitted(config, named, parsed.sites.stage_timeout, lambda: _status(config), wait)


@server_cli.command()
def status(
    config: ConfigFile = CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it, on a terminal, until Ctrl-C.")] = False,
) -> None:
    """Show the server's processes, the sites that are connected, and where each run is."""
    if watch:
        watch_status(lambda: _status(config), SafeConsole())
    answer = _status(config)
    if as_json:
        say_json(json.dumps(answer.model_dump(mode="json")))
    else:
        show_status(answer, SafeConsole())


@server_cli.command()
def stop(run: RunArgument, config: ConfigFile = CONFIG) -> None:
    """Stop a run, or take it out of the line. Its finished rounds are kept; it can be resumed."""
    from sealora_server.deployment.operator.messages import Stop

    say(f"{_done(config, Stop(run=run_name(run)))}. To go on:  sealora server resume {run} --config {config}")


@server_cli.command()
def resume(run: RunArgument, config: ConfigFile = CONFIG) -> None:
    """Go on with a run that was stopped or has failed, at the round it was in; ask for approval if it was refused."""
    from sealora_server.deployment.operator.messages import Resume

    say(f"{_done(config, Resume(run=run_name(run)))}: see `sealora server status`")


@server_cli.command("use-roster")
def use_roster(
    run: RunArgument,
    roster: Annotated[Path, typer.Argument(help="The new roster, signed by the same coordinator.")],
    config: ConfigFile = CONFIG,
) -> None:
    """Use a new roster from a run's next round on: a site came, left, or has new keys."""
    from sealora_server.deployment.operator.messages import UseRoster

    loaded = Roster.load(roster)
    _ask(config, UseRoster(run=run_name(run), roster=loaded.model_dump_json()))
    say(f"run {run}: from the next round on with the roster {loaded.fingerprint}")


@server_cli.command()
def register(
    cards: Annotated[list[Path] | None, typer.Argument(help="Site cards (JSON).")] = None,
    roster: Annotated[Path | None, typer.Option(help="A roster: all of its sites.")] = None,
    config: ConfigFile = CONFIG,
) -> None:
    """Let sites connect before there is a run for them, or replace a site's node key. Other sites are not touched."""
    from sealora_server.deployment.nodes import nodes_of
    from sealora_server.deployment.operator.messages import Register

    if not cards and roster is None:
        raise DeploymentError("give site cards, or a roster with --roster")
    nodes = nodes_of(Roster.load(roster)) if roster is not None else {}
    nodes |= {card.name: card.node_key for card in map(SiteCard.load, cards or [])}
    _ask(config, Register(nodes=nodes))
    say(f"registered: {', '.join(sorted(nodes))}")


@server_cli.command()
def unregister(
    site: Annotated[str, typer.Argument(help="The site's name.")],
    config: ConfigFile = CONFIG,
) -> None:
    """Let a site connect no more. Its node key is withdrawn for good; to come back it needs a new one."""
    from sealora_server.deployment.operator.messages import Unregister

    _ask(config, Unregister(site=site))
    say(f"{site}: its key is withdrawn; it stays on the rosters of runs that have it")


@server_cli.command()
def logs(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run, whose story is told; otherwise the server's log.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on showing what is added; a run's story ends with the run.")
    ] = False,
    printed: Annotated[
        bool, typer.Option("--printed", help="What the run's own process printed besides: as a rule nothing.")
    ] = False,
    config: ConfigFile = CONFIG,
) -> None:
    """Show the server's log, or tell a run's story: while it goes on and afterwards, whether or not the server runs."""
    from sealora_server.deployment.log_file import shown_log

    try:
        for line in shown_log(ServerDirectory(config), run, printed=printed, follow=follow):
            say(line)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _status(config: Path) -> Status:
    from sealora_server.deployment.operator.messages import AskStatus, status_of

    return status_of(_ask(config, AskStatus()))


def _done(config: Path, act: Act) -> str:
    """Asks the server; what is told of it."""
    from sealora_server.deployment.operator.told import done_text

    _ask(config, act)
    return done_text(act)


def _ask(config: Path, request: Request) -> Result:
    from sealora_server.deployment.operator.socket import ask

    return ask(ServerDirectory(config).operator_socket, request)
