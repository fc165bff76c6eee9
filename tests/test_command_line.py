"""Both commands: every argument is explained, the version is told, and the shell completes them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from typer.core import TyperArgument
from typer.main import get_command
from typer.testing import CliRunner

from sealora_client.cli import program as site
from sealora_common import __version__
from sealora_server.cli import program as server

PROGRAMS = {"sealora": server, "sealora-site": site}


def commands(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(words), command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*words, name))


ALL = [found for name, program in PROGRAMS.items() for found in commands(get_command(program.cli), (name,))]


@pytest.mark.parametrize(("words", "command"), ALL, ids=[words for words, _ in ALL])
def test_every_command_and_every_one_of_its_arguments_and_options_is_explained(words, command):
    assert (command.help or "").strip()
    for parameter in command.params:
        explained = getattr(parameter, "help", None)
        assert explained, f"{words}: {parameter.name}"
        assert explained.rstrip().endswith((".", "]", ")")), f"{words}: {parameter.name}: {explained}"
        if isinstance(parameter, TyperArgument):  # and it is shown
            name, shown = parameter.get_help_record(click.Context(command))
            assert explained in shown, f"{words}: {name}"


def process(program: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program as its entry point starts it."""
    code = f"import sys; sys.argv[0] = {program!r}; from {PROGRAMS[program].__name__} import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_version_is_told_alone_on_a_line_that_programs_can_read(program):
    done = process(program, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sealora {__version__}\n", "")


@pytest.mark.parametrize(
    ("program", "line", "found"),
    [("sealora", "sealora server st", ["status", "stop"]), ("sealora-site", "sealora-site pol", ["policy"])],
)
def test_the_shell_completes_commands(program, line, found):
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    last = str(len(line.split()) - 1)
    done = process(program, **{variable: "complete_bash", "COMP_WORDS": line, "COMP_CWORD": last})
    assert sorted(done.stdout.split()) == found
    assert done.stderr == ""


@pytest.mark.parametrize("program", PROGRAMS)
def test_how_completion_is_set_up_stands_in_the_help(program):
    shown = CliRunner().invoke(PROGRAMS[program].cli, ["--help"]).output
    for option in ("--version", "--install-completion", "--show-completion"):
        assert option in shown
