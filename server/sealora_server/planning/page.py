"""The page of `sealora plan`."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sealora_common.privacy.noise_law import AGREEMENT, Choice, Outlook
from sealora_common.show.quantities import (
    MISSING,
    bytes_text,
    count_text,
    epochs_text,
    epsilon_text,
    target_text,
    time_text,
)
from sealora_server.planning.planning import PlannedRun

_MOST_SITES_LISTED = 24

WHAT_WORTH_IS = (
    "Worth: so many steps without noise lower a loss as far that curves alike in all directions; at best if all "
    f"records pull one way, as a rule if their mean is {AGREEMENT:g} of that long. Fewer steps also walk less far: a "
    "quarter of the recipe's, and four, is the least that is recommended. It orders choices; what a run learns, noise "
    "does not tell."
)

WHAT_LAYERS_ALONE_ARE = (
    "Noise is shorter over fewer parameters. Training one of these parts of the layers alone may pay where more than "
    "that share of the mean gradient's squared length lies in it, by the same measure: try it, and judge by the "
    "held-out figure. "
)
HOW_TO_LOCATE = "How much does, noise does not tell; --gradients does, by one step on the simulated sites' records."
WHAT_HOLDS_IS = (
    "Holds: the share that does in the first step on the simulated sites' records, with neither clipping nor noise. "
    "Later steps may have it elsewhere. It is exact, and of these records: no release."
)


def print_plan(planned: PlannedRun, console: Console) -> None:
    """Prints it: the sites, what a step is made of, what a run costs, what else the compute could buy, and advice."""
    found = planned.outlook
    console.print(
        Text.assemble((found.recipe, "bold"), f": {found.mechanism}, {count_text(len(found.sites), 'site')}"),
        soft_wrap=True,
    )
    console.print(_sites(planned))
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(planned):
        facts.add_row(Text(name, style="dim"), value)
    console.print(facts)
    if found.alternatives:
        console.print(_choices(found))
        console.print(Text(WHAT_WORTH_IS, style="dim"), soft_wrap=True)
    if found.layers:
        console.print(_layers(planned))
        located = HOW_TO_LOCATE if planned.gradient_shares is None else WHAT_HOLDS_IS
        console.print(Text(WHAT_LAYERS_ALONE_ARE + located, style="dim"), soft_wrap=True)
    for note in (*found.notes, *planned.left_out):
        console.print(Text(note, style="dim"), soft_wrap=True)
    if found.warning is not None:
        console.print(Text(f"Warning: {found.warning}.", style="bold yellow"), soft_wrap=True)
    console.print(Text(found.advice, style="bold"), soft_wrap=True)


def _sites(planned: PlannedRun) -> Table:
    found, times = planned.outlook, {each.site: each for each in planned.times or ()}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("site")
    for name in (f"{found.unit}s", "a step\ndraws", *(("a step\ntakes", "a round", "the run") if times else ())):
        table.add_column(name, justify="right", vertical="bottom")
    for site in found.sites[:_MOST_SITES_LISTED]:
        took = times.get(site.name)
        each = () if took is None else (time_text(took.step), time_text(took.round), time_text(took.run))
        table.add_row(site.name, f"{site.units:,}", _figure(site.expected_units), *each)
    if len(found.sites) > 1:
        label = "all together" if len(found.sites) <= _MOST_SITES_LISTED else f"all {len(found.sites)} together"
        # One after the other, as a simulation in one process works.
        total = [sum(getattr(each, part) for each in times.values()) for part in ("step", "round", "run") if times]
        units = sum(site.units for site in found.sites)
        table.add_row(label, f"{units:,}", _figure(found.own.expected_units), *map(time_text, total), style="dim")
    return table


def _facts(planned: PlannedRun) -> Iterator[tuple[str, str]]:
    found, own = planned.outlook, planned.outlook.own
    yield (
        "steps",
        f"{count_text(own.rounds, 'round')} of {count_text(own.steps_per_round, 'step')}, q {own.sample_rate:g}, "
        f"{epochs_text(found.epochs)} together",
    )
    if found.delta is None:
        yield "noise", "none"
    else:
        yield (
            "noise on the mean gradient",
            f"{_figure(own.noise_in_units)} C/N, {own.noise:.2e} C on each parameter (multiplier "
            f"{own.noise_multiplier:g} on a sum, C {found.clip_norm:g})",
        )
        if found.noise_norm is not None:
            yield (
                "all of it together",
                f"{_figure(found.noise_norm)} C, where records reach {_figure(found.reach)} C at most: as long as "
                f"{_figure(found.noise_as_units or 0)} {found.unit}s that pull one way",
            )
        yield (
            "epsilon",
            f"{epsilon_text(found.epsilon_training)} by training, {epsilon_text(found.epsilon_evaluations)} by "
            f"evaluations, at delta {target_text(found.delta)}",
        )
    if found.parameters is None:
        yield (
            "parameters trained",
            f"{MISSING}; {found.fewest_parameters:,} are assumed at best, {found.usual_parameters:,} as a rule",
        )
    else:
        yield "parameters trained", f"{found.parameters:,}"
    yield "sent by a site in a run", bytes_text(found.uplink_bytes)


def _choices(found: Outlook) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in (
        "compute",
        "rounds",
        "steps of\neach",
        "q",
        "a step\ndraws",
        "noise,\nC/N",
        "worth\nat best",
        "as a\nrule",
    ):
        table.add_column(name, justify="right", vertical="bottom")
    table.add_column("")
    for choice in (found.own, *found.alternatives):
        mark = "now" if choice == found.own else "take" if choice == found.recommended else ""
        table.add_row(*_row(choice), mark, style="bold" if choice == found.recommended else "")
    return table


def _layers(planned: PlannedRun) -> Table:
    found, shares = planned.outlook, planned.gradient_shares
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("layers alone", vertical="bottom")
    for name in ("parameters", "worth\nas a rule", "pays from", *(("holds",) if shares is not None else ())):
        table.add_column(name, justify="right", vertical="bottom")
    for part in found.layers:
        holds = () if shares is None else (_share(shares.get(part.name, 0.0)),)
        table.add_row(part.name, f"{part.parameters:,}", _worth(part.worth), _share(part.pays_from), *holds)
    if found.parameters is not None:
        table.add_row("all", f"{found.parameters:,}", _worth(found.own.worth), style="dim")
    return table


def _row(choice: Choice) -> tuple[str, ...]:
    return (
        f"{choice.compute:g} x",
        str(choice.rounds),
        str(choice.steps_per_round),
        f"{choice.sample_rate:g}",
        _figure(choice.expected_units),
        _figure(choice.noise_in_units),
        _worth(choice.worth_at_best),
        _worth(choice.worth),
    )


def _figure(value: float) -> str:
    """Three digits, and all of a whole part that has more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _worth(steps: float) -> str:
    return f"{steps:.3g}" if steps >= 0.001 else "< 0.001"


def _share(share: float) -> str:
    return f"{100 * share:.2g} %"
