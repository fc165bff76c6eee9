"""`sealora-site budget`: what this site's data sets have spent, what a recipe would cost, and care of the ledger."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from sealora_client.cli.upkeep import SpentSinceOption, since_of
from sealora_client.site.config import SiteConfig
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity
from sealora_common.show.console import SafeConsole, keep_rows_whole
from sealora_common.show.say import say, say_json

if TYPE_CHECKING:
    from sealora_client.budget.report import BudgetReport, Plan, SeveralSites
    from sealora_client.ledger import Verified

budget_cli = typer.Typer(invoke_without_command=True, help="Privacy spent and left, and care of the privacy ledger.")

_NAME = 8  # digits of a data set's or a run's name in tables
_SHOWN = 20  # charges in the table of history, unless all are asked for

Directory = Annotated[Path | None, typer.Option("--directory", help="The site's directory.", show_default=".")]
SignedBy = Annotated[
    str | None,
    typer.Option(help="Pin of the site's former key, if it was replaced since; none: there was no signature."),
]


@budget_cli.callback()
def budget(
    context: typer.Context,
    directory: Directory = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Say what this recipe would cost.", show_default="the site's recipe.yaml")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    every: Annotated[bool, typer.Option("--all", help=f"Show all charges, not the last {_SHOWN} only.")] = False,
    sites: Annotated[int, typer.Option(min=1, help="Say what is promised to somebody at so many sites.")] = 2,
) -> None:
    """Show what each data set has spent, and what a recipe would cost and promise."""
    context.obj = directory
    if context.invoked_subcommand is not None:
        return
    from sealora_client.budget.report import RecipeAtSite, budget_report
    from sealora_client.ledger import LEDGER, Ledger
    from sealora_client.site.policy import SitePolicy
    from sealora_common.recipe import load_recipe

    site = directory or Path()
    config = SiteConfig.load(site / "site.yaml")
    policy = SitePolicy.load(site / "policy.yaml")
    identity = Identity.load(config.name, site / "identity.pem")
    file = recipe or site / "recipe.yaml"
    at_site = RecipeAtSite.read(site, config, load_recipe(file)) if recipe or file.exists() else None
    with Ledger(site / LEDGER, identity) as ledger:
        report = budget_report(ledger, config.name, policy, at_site, sites)
    if as_json:
        say_json(report.model_dump_json(indent=2))
    else:
        _show(report, every)


@budget_cli.command("export")
def export_command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where to write it; it must not exist.")],
    directory: Directory = None,
) -> None:
    """Write the whole ledger as signed lines of JSON. Keep it elsewhere, as confidential as the data itself."""
    from sealora_client.ledger import LEDGER
    from sealora_client.ledger.export import export_ledger
    from sealora_client.ledger.recovery import require_ledger

    site = _site(context, directory)
    require_ledger(site / LEDGER)
    entries = export_ledger(site / LEDGER, _identity(site), file)
    say(f"{file}: {entries} entries; whoever holds it can look up who is in the data")


@budget_cli.command("restore")
def restore_command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The newest export.")],
    directory: Directory = None,
    signed_by: SignedBy = None,
    spent_since: SpentSinceOption = None,
) -> None:
    """Put a lost ledger back from an export. Never replaces a ledger, and never forgets entries."""
    from sealora_client.ledger import LEDGER
    from sealora_client.ledger.head import head_path
    from sealora_client.ledger.recovery import restore_ledger
    from sealora_client.upkeep.restore import HOW_TO_SAY

    site = _site(context, directory)
    if spent_since is None and file.exists() and not head_path(site / LEDGER).exists():
        raise PolicyError(f"ledger.head is lost too, so nothing tells whether this is the newest export: {HOW_TO_SAY}")
    since = since_of(spent_since)
    _say(restore_ledger(file, site / LEDGER, _identity(site), signed_by=_pin(signed_by), since=since))


@budget_cli.command("verify")
def verify_command(
    context: typer.Context,
    directory: Directory = None,
    export: Annotated[Path | None, typer.Option(help="An earlier export, which the ledger must go on from.")] = None,
) -> None:
    """Check every entry's hash and signature, the lists of members, and that the end of the ledger is there."""
    from sealora_client.ledger import LEDGER, Ledger
    from sealora_client.ledger.recovery import require_ledger, verify_against

    site = _site(context, directory)
    require_ledger(site / LEDGER)
    identity = _identity(site)
    if export is not None:
        verify_against(export, site / LEDGER, identity)
    with Ledger(site / LEDGER, identity) as ledger:
        _say(ledger.verify())


@budget_cli.command("accept")
def accept_command(
    context: typer.Context,
    directory: Directory = None,
    signed_by: SignedBy = None,
    export: Annotated[Path | None, typer.Option(help="An earlier export, which the ledger must go on from.")] = None,
) -> None:
    """Go on with a ledger whose head file was lost, or that was signed by the key this site had before."""
    from sealora_client.ledger import LEDGER
    from sealora_client.ledger.recovery import accept_ledger

    site = _site(context, directory)
    _say(accept_ledger(site / LEDGER, _identity(site), signed_by=_pin(signed_by), export=export))


@budget_cli.command("write-off")
def write_off_command(context: typer.Context, directory: Directory = None) -> None:
    """Count all that runs in the ledger may yet take as spent: for one that was put back to an earlier state."""
    from sealora_client.ledger import LEDGER
    from sealora_client.ledger.recovery import write_off_known_runs

    site = _site(context, directory)
    runs = write_off_known_runs(site / LEDGER, _identity(site))
    for run in runs:
        say(f"run {run[:12]}: all that it could yet take is spent")
    if not runs:
        say("no run in the ledger can take anything more: there is nothing to write off")


@budget_cli.command("settle")
def settle_command(
    context: typer.Context,
    charges: Annotated[list[int], typer.Argument(help="Entries of open charges.")],
    directory: Directory = None,
) -> None:
    """Close open charges of rounds that are over. They stay spent, and no result can leave under them any more."""
    from sealora_client.ledger import LEDGER, Ledger
    from sealora_client.ledger.recovery import require_ledger

    site = _site(context, directory)
    require_ledger(site / LEDGER)
    with Ledger(site / LEDGER, _identity(site)) as ledger:
        for charge in charges:
            ledger.settle(charge)
            say(f"charge {charge}: settled")


def _site(context: typer.Context, directory: Path | None) -> Path:
    return directory or context.obj or Path()


def _identity(site: Path) -> Identity:
    return Identity.load(SiteConfig.load(site / "site.yaml").name, site / "identity.pem")


def _pin(text: str | None) -> str | None:
    if text is None:
        return None
    if text == "none":
        return ""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise PolicyError(f"--signed-by: {text!r} is no key's pin: give its 64 hexadecimal digits, or none")
    return text


def _say(found: Verified) -> None:
    say(f"{found.entries} entries, each bound to the one before and signed; none is missing")
    say(f"signed by   {found.signed_by}")
    say(f"last entry  {found.hash}")
    for mark in found.marks:
        say(f"entry {mark.number}, {mark.created}: a person had the ledger {mark.deed}")


def _show(report: BudgetReport, every: bool) -> None:
    console = SafeConsole()
    keep_rows_whole(console)
    if report.datasets:
        console.print(_datasets(report))
        console.print(_history(report, every))
    else:
        console.print("Nothing was charged yet.", highlight=False)
    if report.plan is not None:
        _show_plan(console, report, report.plan)
    for note in report.notes:
        console.print(f"Note: {note}", highlight=False, markup=False)


def _datasets(report: BudgetReport) -> Table:
    title = f"{report.site}: epsilon spent at delta {report.delta:g}, limit {report.epsilon_limit:g}"
    table = _table(title, "data set", "now", "unit", "size", "spent", "left", "open", "released", "settled")
    for row in report.datasets:
        table.add_row(
            row.fingerprint[:_NAME],
            row.part or "-",
            row.unit,
            str(row.size),
            f"{row.spent:.4g}",
            f"{row.left:.4g}",
            str(row.open),
            str(row.released),
            str(row.settled),
        )
    return table


def _history(report: BudgetReport, every: bool) -> Table:
    shown = report.history if every else report.history[-_SHOWN:]
    title = "charges" if len(shown) == len(report.history) else f"last {len(shown)} of {len(report.history)} charges"
    table = _table(title, "entry", "charged", "data set", "run", "round", "noise", "rate", "steps", "state")
    for row in shown:
        table.add_row(
            str(row.entry),
            row.created[:10],
            row.dataset[:_NAME],
            row.run[:_NAME],
            str(row.round or "rest"),
            f"{row.noise_multiplier:.4g}" + ("" if row.noise == "gaussian" else f" {row.noise}"),
            f"{row.sample_rate:.3g}",
            str(row.steps),
            row.state + (f", repeated {row.repeats}x" if row.repeats else ""),
        )
    return table


def _show_plan(console: Console, report: BudgetReport, plan: Plan) -> None:
    if plan.parts:
        title = f"recipe {plan.recipe}: what it would cost at delta {plan.delta:g}, limit {report.epsilon_limit:g}"
        table = _table(title, "data", "unit", "size", "rounds", "one", "all", "spent", "then spent", "rounds that fit")
        for part in plan.parts:
            table.add_row(
                part.part,
                part.unit,
                str(part.size),
                str(part.rounds),
                f"{part.one_round:.4g}",
                f"{part.whole_run:.4g}",
                f"{part.spent:.4g}",
                f"{part.after_run:.4g}",
                str(part.rounds_left),
            )
        console.print(table)
    elif plan.refused is None:
        console.print(f"recipe {plan.recipe}: no privacy mechanism, so nothing would be charged", highlight=False)
    epochs = f"{plan.expected_epochs:.3g}"
    console.print(f"A training record is expected to be drawn {epochs} times, an epoch each.", highlight=False)
    if plan.runs is not None:
        runs = "1 such run" if plan.runs == 1 else f"{plan.runs} such runs"
        console.print(f"The limit allows {runs} over this data's lifetime.", highlight=False)
    if plan.several_sites is not None:
        console.print(_at_several_sites(plan, plan.several_sites), highlight=False)
    if plan.refused is not None:
        console.print(f"This site would refuse: {plan.refused}", style="bold", highlight=False, markup=False)


def _at_several_sites(plan: Plan, several: SeveralSites) -> str:
    unit = plan.parts[0].unit
    if several.sites == 1:
        return f"A {unit} in the data of this site alone is promised epsilon {several.epsilon:.4g} by a run."
    return (
        f"A {unit} in the data of {several.sites} sites is promised epsilon {several.epsilon:.4g} by a run, not "
        f"{plan.epsilon:g}: each site's promise is its own."
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, title=title, title_justify="left")
    for column in columns:
        table.add_column(column, no_wrap=column != "state")
    return table
