from __future__ import annotations

import io
import json
import sys

from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sealora_common.errors import SealoraError
from sealora_common.show.console import SafeConsole, tell_error
from sealora_common.show.say import say, say_json

HOSTILE = "a\x1b]0;owned\x07\x9b2J\u202eb\rc\u200bd"


def has_none_of_it(shown: str) -> bool:
    return not any(mark in shown for mark in ("\x1b]", "\x07", "\x9b", "\u202e", "\r", "\u200b"))


def test_what_a_command_says_is_one_safe_line(capsys):
    say(f"{HOSTILE}\nforged")
    assert capsys.readouterr().out == "a ]0;owned  2J b c d forged\n"
    say("one\ntwo\x1b[2J", lines=True)
    assert capsys.readouterr().out == "one\ntwo [2J\n"


def test_json_for_a_program_keeps_its_text(capsys):
    say_json(json.dumps({"said": HOSTILE}, indent=2, ensure_ascii=False))
    out = capsys.readouterr().out
    assert json.loads(out) == {"said": HOSTILE}
    assert has_none_of_it(out)


def test_a_terminal_that_cannot_show_a_letter_shows_a_mark_for_it(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    say("Zürich")
    assert raw.getvalue() == b"Z?rich\n"
    say_json('"Zürich"')
    assert json.loads(raw.getvalue().split(b"\n")[1]) == "Zürich"


def drawn(draw) -> str:
    out = io.StringIO()
    draw(SafeConsole(file=out, force_terminal=True, width=60))
    return out.getvalue()


def test_no_text_on_a_console_steers_the_terminal_wherever_it_stands():
    def table(console: SafeConsole) -> None:
        grid = Table("name", HOSTILE)
        grid.add_row(HOSTILE, Text(HOSTILE, "bold"))
        console.print(Panel(grid, title=escape(HOSTILE)))

    for draw in (
        lambda console: console.print(HOSTILE),
        lambda console: console.print(HOSTILE, markup=False, soft_wrap=True),
        lambda console: console.print(Text(HOSTILE, "red")),
        lambda console: console.print([HOSTILE]),
        lambda console: console.rule(escape(HOSTILE)),
        table,
    ):
        assert has_none_of_it(drawn(draw))
    shown = drawn(lambda console: console.print(Text("red", "red")))
    assert "\x1b[31m" in shown  # its own colours it still writes


def test_nor_does_a_live_frame():
    def live(console: SafeConsole) -> None:
        with Live(Text(HOSTILE), console=console, auto_refresh=False) as frame:
            frame.refresh()

    shown = drawn(live)
    assert "owned" in shown
    assert not any(mark in shown for mark in ("\x1b]", "\x07", "\x9b", "\u202e", "\u200b"))


def test_an_error_is_told_in_one_safe_line():
    out = io.StringIO()
    tell_error(SealoraError(f"{HOSTILE}\nError: forged [bold]"), out)
    assert out.getvalue() == "Error: a ]0;owned  2J b c d Error: forged [bold]\n"
