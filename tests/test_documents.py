"""The newcomer's path: what README and docs tell a person to type exists, and `make demo` does what they say."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from myst_parser.slugs import github_slugify

from sealora_client.cli import cli as site_cli
from sealora_common.recipe import load_recipe
from sealora_common.secagg import threshold_for
from sealora_common.secagg.graph import neighbourhood
from sealora_common.show.quantities import epsilon_text
from sealora_server.cli import cli as server_cli

PROJECT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
DOCUMENTS = [*(PROJECT / name for name in PAGES), *sorted((PROJECT / "docs").glob("*.md"))]
COMMANDS = {"sealora": typer.main.get_command(server_cli), "sealora-site": typer.main.get_command(site_cli)}


# A command in a line of shell: at its begin, in a loop's head, after `&&` or in `$(...)`, up to what follows it.
COMMAND = re.compile(
    r"(?:^\s*|[;(|&]\s*|\b(?:until|while|if|do|then) )(?:[A-Z_]+=\S+ )*"
    r"(sealora(?:-site)?) ((?:[^|;&)#>'\"]|'[^']*'|\"[^\"]*\")*)"
)


def commands(program: str) -> Iterator[list[str]]:
    """The command lines of `program` in the documents' code blocks and the recipes' opening comments."""
    blocks = [block for path in DOCUMENTS for block in re.findall(r"```\w*\n(.*?)```", path.read_text(), re.DOTALL)]
    comments = [line.lstrip("# ") for path in (PROJECT / "configs").glob("*.yaml") for line in path.open()]
    lines = [line for block in blocks for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    for line in lines + [line for line in comments if line.startswith("sealora")]:
        for name, rest in COMMAND.findall(line.partition(" #")[0]):
            if name == program:
                yield shlex.split(rest)


def mentions(program: str) -> Iterator[list[str]]:
    """What of `program` stands in the text itself as code: `sealora-site data check --html`."""
    for path in DOCUMENTS:
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        for found in re.findall(r"(?<!`)`([^`]+)`(?!`)", text):
            words = shlex.split(found) if found.startswith(f"{program} ") else []
            if words:
                yield words[1:]


def taken(program: str, words: list[str], *, whole: bool) -> None:
    """Holds that the program takes these words.

    Args:
        program: which.
        words: of the command, and its arguments.
        whole: whether it must do something as it stands; text may name a group of commands.
    """
    command, arguments = COMMANDS[program], list(words)
    # A group that does something by itself (`sealora-site budget`) may be followed by options of its own.
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        assert arguments[0] in command.commands, words
        command = command.commands[arguments.pop(0)]
    acts = not isinstance(command, click.Group) or command.invoke_without_command or arguments
    assert acts or not whole, words
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    asked = {word.partition("=")[0] for word in arguments if re.match("--?[a-z]", word)} - {"--help"}
    assert asked <= options, words


@pytest.mark.parametrize("program", COMMANDS)
def test_every_command_in_the_documents_is_one_that_the_program_takes(program: str) -> None:
    lines, named = list(commands(program)), list(mentions(program))
    assert len(lines) > 20
    assert len(named) > 20
    for words in lines:
        taken(program, words, whole=True)
    for words in named:
        taken(program, words, whole=False)


def test_every_simulation_in_the_documents_has_a_recipe_that_loads_with_its_overrides() -> None:
    # RECIPE stands for any; the tutorial writes its own, and has a test of its own.
    simulations = [words for words in commands("sealora") if words[0] == "simulate" and words[1].startswith("configs/")]
    assert len(simulations) >= 3
    for words in simulations:
        recipe = load_recipe(PROJECT / words[1], [word for word in words[2:] if re.match(r"[a-z_.]+=", word)])
        assert recipe.sites.simulated


def test_every_make_target_in_the_documents_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name
        for path in DOCUMENTS
        for line in re.findall(r"(?:^|`)make ((?:[a-z-]+ ?)+)(?=[`#\n\sA-Z])", path.read_text(), re.MULTILINE)
        for name in line.split()
    }
    assert {"demo", "test"} <= named <= targets


def test_every_file_that_the_documents_name_is_there() -> None:
    for path in DOCUMENTS:
        text = path.read_text()
        links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
        assert all((path.parent / link).exists() for link in links), path
        tests = re.findall(r"`(tests/[\w/.]+)`", text)
        assert all((PROJECT / name).exists() for name in tests), (path, tests)
        attacks = re.findall(r"`(test_\w+\.py)`", text)
        assert all(list((PROJECT / "tests").rglob(name)) for name in attacks), (path, attacks)


def test_every_heading_that_the_documents_link_to_is_there() -> None:
    def slugs(path: Path) -> set[str]:
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        return {github_slugify(title.replace("`", "")) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}

    headings = {path: slugs(path) for path in DOCUMENTS}
    links = [
        (path, *found) for path in DOCUMENTS for found in re.findall(r"\]\(([\w./-]*)#([^)]+)\)", path.read_text())
    ]
    assert len(links) > 100
    for path, page, heading in links:
        target = (path.parent / page).resolve() if page else path
        assert heading in headings[target], (path.name, page, heading)


def test_the_tables_in_the_sealing_document_are_what_the_code_computes() -> None:
    text = (PROJECT / "docs" / "sealing.md").read_text()

    def row(title: str) -> list[int]:
        match = re.search(rf"^\| {title} \|(.*)\|$", text, re.MULTILINE)
        assert match, title
        return [int(cell) for cell in match.group(1).split("|")]

    computed = [neighbourhood(sites, sites, 1024) for sites in row("sites")]
    assert row("neighbours k") == [each.neighbours for each in computed if each]
    assert row("threshold t") == [each.threshold for each in computed if each]
    for sites, curious, malicious in re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE):
        assert threshold_for(int(sites), "curious") == int(curious)
        assert threshold_for(int(sites), "malicious") == int(malicious)


@pytest.mark.slow
def test_make_demo_in_a_fresh_clone_teaches_the_model_within_its_budget(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)
    subprocess.run(["make", "demo", "DEMO_OUT=runs/demo"], cwd=clone, check=True, timeout=2400)
    summary = json.loads((clone / "runs" / "demo" / "summary.json").read_text())
    assert summary["score_metric"] == "held-out exact match"
    low, high = summary["score_interval"]
    assert summary["score_before"] < 0.05
    assert 0.5 < low < summary["score_after"] < high
    assert len(summary["sites"]) == 3
    for site in summary["sites"]:
        assert site["epsilon"] <= 8
        assert site["delta"] <= 1 / site["records"]
    page = (PROJECT / "docs" / "demo.md").read_text()
    records = ", ".join(f"{site['records']:,}" for site in summary["sites"])
    assert f"| training records | {records} |" in page
    spent = epsilon_text(max(site["epsilon"] for site in summary["sites"]))  # of no noise that was drawn, so no other
    assert re.search(rf"\| the most epsilon that any site spent.*? \| {spent} \|", page)
    report = (clone / "runs" / "demo" / "report.html").read_text()
    for told in (f"{100 * summary['score_after']:.1f} %", spent, f"{summary['rounds']}<small>of {summary['rounds']}"):
        assert told in report
