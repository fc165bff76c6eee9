"""`sealora-site data`: a site's data before anybody trains: what is in it, what is wrong, and how to put it right."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.status import Status

from sealora_client.data_quality.near import SIMILARITY
from sealora_client.data_report.report import SAMPLE
from sealora_common.errors import DataError, StorageError
from sealora_common.show.console import SafeConsole
from sealora_common.show.say import say, say_json

LOCAL_RECORDS = (
    "These records are confidential: this screen is the only place they were shown, and nothing was sent or kept."
)
MOST_STRATA = 50
SPLIT_NOTE = (
    "Note: split before the first run. What was trained on once measures nothing when it is held out later, and what "
    "was evaluated has spent some of its budget already."
)

data_cli = typer.Typer(no_args_is_help=True, help="Look at this site's data and put it right, before anybody trains.")

Directory = Annotated[Path, typer.Option("--directory", help="The site's directory.")]
DataFile = Annotated[
    Path | None, typer.Option("--data", help="The data.", show_default="the file that site.yaml names")
]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="Says how records are read.", show_default="the site's recipe.yaml")
]
Similarity = Annotated[float, typer.Option(min=0.5, max=1.0, help="From which on two records are nearly the same.")]
Countries = Annotated[
    list[str] | None,
    typer.Option("--country", help="Look for this country's numbers as well: de, uk, us; may be repeated."),
]


def _busy(doing: str) -> Status:
    """Shows on a terminal that the command is at work, which takes minutes for a large file."""
    return SafeConsole(stderr=True).status(doing)


@data_cli.callback()
def data() -> None:
    """Look at this site's data and put it right, before anybody trains. Nothing of it leaves this machine."""


@data_cli.command("check")
def check_command(
    directory: Directory = Path(),
    data_file: DataFile = None,
    recipe: RecipeFile = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as a page, too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 for remarks, too.")] = False,
    countries: Countries = None,
    similarity: Similarity = SIMILARITY,
    sample: Annotated[
        int, typer.Option(min=1, help="Records at most that are compared and searched for personal data.")
    ] = SAMPLE,
) -> None:
    """Say what is in the data, what stops a run and what is odd. Exit code 1 for what stops a run.

    The base model's weights are not needed. Its tokenizer is, to count tokens; without it, all else is told. No text of
    a record is shown.
    """
    from sealora_client.cli.check import quiet_libraries
    from sealora_client.data_report.chosen import ChosenData
    from sealora_client.data_report.compile import Looking, report_on
    from sealora_client.data_report.page import write_page
    from sealora_client.data_report.terminal import show_report
    from sealora_client.operator.kept_checks import keep_data_report

    chosen = ChosenData.at(directory, data_file, recipe)
    with quiet_libraries(), _busy("looking at the data"):
        report = report_on(chosen, Looking(sample, similarity, tuple(countries or ())))
    if html is not None:
        write_page(report, html)
    if data_file is None and recipe is None:
        with suppress(StorageError):
            keep_data_report(directory, report)
    if as_json:
        say_json(report.model_dump_json(indent=2))
    else:
        show_report(report, SafeConsole(highlight=False, soft_wrap=True))
        if html is not None:
            say(f"{html}: the same as a page; keep it here, as it describes your data")
    if report.problems or (strict and report.remarks):
        raise typer.Exit(1)


@data_cli.command("preview")
def preview_command(
    directory: Directory = Path(),
    data_file: DataFile = None,
    recipe: RecipeFile = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Show so many records.")] = 3,
    line: Annotated[int | None, typer.Option("--line", min=1, help="Show the record of this line.")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Choose the same records again.", show_default="at random")
    ] = None,
    bars: Annotated[bool, typer.Option("--bars/--no-bars", help="Mark where tokens end.")] = True,
) -> None:
    """Show records as the model sees them, token by token: they are the site's data, in clear text, on this screen.

    What is given, what is trained on, what is cut, and which tokens are control. Needs the base model's tokenizer.
    """
    from sealora_client.cli.check import quiet_libraries
    from sealora_client.data_report.base_tokens import BaseTokens
    from sealora_client.data_report.chosen import ChosenData
    from sealora_client.data_report.preview import chosen_records, shown_records
    from sealora_client.data_report.token_lines import show_records

    chosen = ChosenData.at(directory, data_file, recipe)
    seed = secrets.randbelow(2**32) if seed is None else seed
    read = chosen.read()
    records = chosen_records(read, count, seed, line)
    with quiet_libraries():
        shown = shown_records(records, chosen.recipe, BaseTokens.load(chosen.recipe.model))
    show_records(shown, read.places, SafeConsole(highlight=False), bars)
    say("")
    if line is None:
        say(f"chosen at random; the same ones again: --seed {seed}")
    say(LOCAL_RECORDS)


@data_cli.command("clean")
def clean_command(
    out: Annotated[Path, typer.Option("--out", help="Where the copy goes (JSONL); it must not exist.")],
    directory: Directory = Path(),
    data_file: DataFile = None,
    recipe: RecipeFile = None,
    mojibake: Annotated[bool, typer.Option("--mojibake", help="Mend texts that were decoded wrongly.")] = False,
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Write letters with their accents in one character (NFC).")
    ] = False,
    trim: Annotated[bool, typer.Option("--trim", help="Take white space from the ends of texts.")] = False,
    redact: Annotated[
        list[str] | None,
        typer.Option("--redact", help="Replace this kind of personal data, PHONE_NUMBER or all; may be repeated."),
    ] = None,
    countries: Countries = None,
    drop_unreadable: Annotated[
        bool, typer.Option("--drop-unreadable", help="Leave out objects that are no record.")
    ] = False,
    shortest: Annotated[
        int | None, typer.Option("--shortest", min=1, help="Leave out records of fewer characters.")
    ] = None,
    longest: Annotated[
        int | None, typer.Option("--longest", min=1, help="Leave out records of more characters.")
    ] = None,
    languages: Annotated[
        list[str] | None,
        typer.Option("--language", help="Leave out records in other languages than this (ISO 639); may be repeated."),
    ] = None,
    drop_copies: Annotated[bool, typer.Option("--drop-copies", help="Leave out exact copies.")] = False,
    near: Annotated[bool, typer.Option("--near", help="Leave out near-duplicates, too.")] = False,
    similarity: Similarity = SIMILARITY,
) -> None:
    """Write a cleaned copy of the data, and beside it the list of what was done. BEFORE the first run on this data.

    Each step is asked for by its option, and they are done in the order in which they stand here. The data itself stays
    as it is.
    """
    from sealora_client.data_cleaning.clean import Steps, cleaned
    from sealora_client.data_cleaning.copies import LEDGER_NOTE, changes_of, require_new, write_copy
    from sealora_client.data_report.chosen import ChosenData
    from sealora_client.ledger import LEDGER

    chosen = ChosenData.at(directory, data_file, recipe)
    require_new(out)
    steps = Steps(
        mojibake=mojibake,
        normalize=normalize,
        trim=trim,
        redact=tuple(redact or ()),
        countries=tuple(countries or ()),
        unreadable=drop_unreadable,
        shortest=shortest,
        longest=longest,
        languages=tuple(languages or ()),
        copies=drop_copies or near,
        near=similarity if near else None,
    )
    with _busy("cleaning a copy"):
        rows, doings = cleaned(chosen.path, chosen.recipe.data, steps)
    write_copy(out, rows, chosen.path, doings)
    for step, done in doings.steps.items():
        say(f"{step}: {len(done.lines)} records" + (f", {done.places} places" if done.places > len(done.lines) else ""))
    say(f"{out}: {doings.written} of {doings.read} records; what was done to which line is in {changes_of(out)}")
    console = SafeConsole(highlight=False, soft_wrap=True)
    console.print(f"Note: {LEDGER_NOTE}.", style="bold yellow", markup=False)
    if (directory / LEDGER).exists():
        console.print(
            f"Note: there is a ledger in {directory}: if this data was ever charged (`sealora-site budget`), do not "
            "train on the copy.",
            style="bold red",
            markup=False,
        )


@data_cli.command("split")
def split_command(
    out: Annotated[Path, typer.Option("--out", help="Where the copy goes (JSONL); it must not exist.")],
    directory: Directory = Path(),
    data_file: DataFile = None,
    recipe: RecipeFile = None,
    heldout: Annotated[
        float | None,
        typer.Option("--heldout", help="The share that is held out.", show_default="the recipe's heldout_fraction"),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", help="The field that says whose a record is.", show_default="the recipe's person_field"),
    ] = None,
    stratify: Annotated[
        str | None, typer.Option("--stratify", help="Hold out the same share of each value of this field.")
    ] = None,
    similarity: Similarity = SIMILARITY,
) -> None:
    """Write a copy of the data that says which records are held out: no person and no near-duplicates in both parts.

    The same data and options give the same split. What the data said of parts before is forgotten; the data itself
    stays as it is.
    """
    from sealora_client.data_cleaning.copies import changes_of, require_new, write_copy
    from sealora_client.data_cleaning.split import split_copy
    from sealora_client.data_report.chosen import ChosenData

    chosen = ChosenData.at(directory, data_file, recipe)
    require_new(out)
    section = chosen.recipe.data
    fraction = section.heldout_fraction if heldout is None else heldout
    if not 0 < fraction < 1:
        raise DataError(f"--heldout {fraction:g}: name a share between 0 and 1, for example 0.1")
    if by is not None:
        section = section.model_copy(update={"person_field": by})
    with _busy("comparing records"):
        rows, doings, strata = split_copy(chosen.path, section, fraction, similarity, stratify)
    write_copy(out, rows, chosen.path, doings)
    for stratum in strata[:MOST_STRATA] if stratify else ():
        say(f"{stratify} {stratum.value}: {stratum.heldout} of {stratum.records} records are held out")
    count = sum(stratum.heldout for stratum in strata)
    say(f"{out}: {count} of {doings.read} records are held out; which ones is in {changes_of(out)}")
    say(SPLIT_NOTE)
