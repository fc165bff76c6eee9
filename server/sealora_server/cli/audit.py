"""`sealora audit`: how much of planted records can be told from a training run, next to what is claimed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from sealora_common.recipe import Recipe, load_recipe
from sealora_common.records.audits import RocSummary
from sealora_common.show.console import SafeConsole
from sealora_common.show.quantities import MISSING, count_text, epsilon_text, target_text, time_text
from sealora_common.show.say import say_json
from sealora_common.storage.durable import write_atomically
from sealora_server.view.audit_summary import AuditSummary, SelfCheckSummary

_CANARIES = 400
_SELF_CHECK_CANARIES = 1000

CAN_SHOW = (
    "An audit can refute a claim; it cannot prove one. What these attacks do not find, others might; the proof is the "
    "accountant's. The figures carry no noise: they stay at the site."
)


def audit(
    recipe: Annotated[Path, typer.Argument(help="A recipe (YAML), see configs/.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="For example privacy.epsilon=4.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="Whose records. [default: the first of sites.simulated]")] = None,
    canaries: Annotated[
        int | None,
        typer.Option(help=f"Records to plant. [default: {_CANARIES}; {_SELF_CHECK_CANARIES} with --self-check]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory of the report. [default: runs/<recipe name>-audit]")
    ] = None,
    self_check: Annotated[
        bool, typer.Option("--self-check", help="Break the engine on purpose, and see whether the audit notices.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Attack a training run of one site, with records planted by coin flips, and compare with the claim.

    Exit code 1: the claim is refuted, or with --self-check a fault went unnoticed.
    """
    parsed = load_recipe(recipe, overrides or [])
    directory = out or Path("runs") / f"{parsed.name}-audit"
    if self_check:
        count = _SELF_CHECK_CANARIES if canaries is None else canaries
        passed = _self_check(parsed, site, count, directory, as_json=as_json)
    else:
        passed = _audit(parsed, site, _CANARIES if canaries is None else canaries, directory, as_json=as_json)
    if not passed:
        raise typer.Exit(1)


def _audit(recipe: Recipe, site: str | None, canaries: int, directory: Path, *, as_json: bool) -> bool:
    from sealora_server.simulation.audits import installed_audits
    from sealora_server.simulation.server_step import ServerStep
    from sealora_server.view.audit_report import render_audit

    audits = installed_audits()
    console = SafeConsole(stderr=as_json)
    with console.status("loading") as status:
        found = audits.audit(
            recipe,
            site=site,
            canaries=canaries,
            server_step=ServerStep(recipe),
            on_round=lambda number: status.update(f"round {number} of {recipe.rounds}"),
        )
    summary = AuditSummary.of(recipe, found)
    _write(directory / "audit.json", summary.model_dump_json(indent=2))
    _write(directory / "audit.html", render_audit(summary))
    if as_json:
        say_json(summary.model_dump_json())
        return not summary.trial.refuted
    console.print(_headline(summary))
    console.print(_claim_table(summary))
    console.print(Text(summary.verdict, style="bold red" if summary.trial.refuted else "bold"), soft_wrap=True)
    console.print(Text(CAN_SHOW, style="dim"), soft_wrap=True)
    console.print(Text.assemble("\nReport  ", (str(directory / "audit.html"), "bold"), ", to be kept at the site"))
    return not summary.trial.refuted


def _self_check(recipe: Recipe, site: str | None, canaries: int, directory: Path, *, as_json: bool) -> bool:
    from sealora_server.simulation.audits import installed_audits

    console = SafeConsole(stderr=as_json)
    with console.status("loading") as status:
        found = installed_audits().self_check(
            recipe,
            site=site,
            canaries=canaries,
            on_check=lambda fault: status.update(f"the engine {'as it is' if fault is None else f'with {fault}'}"),
        )
    summary = SelfCheckSummary.of(recipe, found)
    _write(directory / "self-check.json", summary.model_dump_json(indent=2))
    if as_json:
        say_json(summary.model_dump_json())
        return summary.passed
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("engine")
    for name in ("epsilon claimed", "at least", "the claim"):
        table.add_column(name, justify="right")
    table.add_column("")
    for check in summary.checks:
        table.add_row(
            check.fault or "sound",
            _claim(check.trial.claim),
            f"{check.trial.lower_bound:.2f}",
            "is refuted" if check.trial.refuted else "stands",
            Text("as it should be", style="green") if check.passed else Text("WRONG", style="bold red"),
        )
    console.print(table)
    console.print(Text(summary.verdict, style="bold" if summary.passed else "bold red"), soft_wrap=True)
    return summary.passed


def _headline(summary: AuditSummary) -> Text:
    line = Text.assemble((summary.recipe, "bold"), f": {summary.site}, ")
    line.append(f"{count_text(summary.units, summary.unit)} and {summary.trial.included} of {summary.trial.canaries} ")
    line.append(f"canaries, {count_text(summary.rounds, 'round')} in {time_text(summary.seconds)}, ")
    line.append(f"delta {target_text(summary.delta)}")
    return line


def _claim_table(summary: AuditSummary) -> Table:
    trial = summary.trial
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("")
    for name in ("epsilon", "right\nguesses", "AUC", "TPR at\n1 % FPR", "\n95 % interval"):
        table.add_column(name, justify="right", vertical="bottom")
    table.add_row("claimed", _claim(trial.claim))
    for found in trial.adversaries:
        right = f"{found.correct} of {found.guessed_in + found.guessed_out}"
        table.add_row(found.adversary, f">= {found.lower_bound:.2f}", right, *_rates(found.roc))
    table.add_row("loss threshold", "", "", *_rates(summary.membership))
    return table


def _rates(roc: RocSummary) -> tuple[str, str, str]:
    if roc.true_positive_rate is None or roc.true_positive_interval is None:
        return f"{roc.auc:.3f}", MISSING, MISSING
    low, high = roc.true_positive_interval
    return f"{roc.auc:.3f}", f"{roc.true_positive_rate:.1%}", f"{low:.1%} to {high:.1%}"


def _claim(epsilon: float | None) -> str:
    return "none" if epsilon is None else epsilon_text(epsilon)


def _write(path: Path, text: str) -> None:
    """For the site's eyes alone: nothing in it carries noise."""
    write_atomically(path, text.encode(), mode=0o600)
