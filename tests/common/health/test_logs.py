from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.health.logs import (
    JsonFormatter,
    SafeFormatter,
    TextFormatter,
    fields,
    set_up_command_logs,
    set_up_logs,
)

SECRET = "the record of Jane Doe, born 1970"


@pytest.fixture(autouse=True)
def logging_as_it_was():
    root, ours = logging.getLogger(), logging.getLogger("sealora_client")
    before = (list(root.handlers), root.level, ours.level)
    yield
    logging.captureWarnings(False)
    logging.raiseExceptions = True
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.fixture(params=["text", "json"])
def stream(request):
    out = io.StringIO()
    set_up_logs(request.param, stream=out)
    return out


def test_a_line_of_json_has_its_time_level_origin_message_and_fields():
    out = io.StringIO()
    set_up_logs("json", stream=out)
    logging.getLogger("sealora_client.x").warning("round %d: ärger", 3, extra=fields(round=3, seconds=1.5, message="x"))
    line = json.loads(out.getvalue())
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "level": "warning",
        "logger": "sealora_client.x",
        "message": "round 3: ärger",
        "round": 3,
        "seconds": 1.5,
    }


def test_a_message_of_several_lines_is_one_line_of_json():
    out = io.StringIO()
    set_up_logs("json", stream=out)
    logging.getLogger("sealora_client").error('two\nlines with "quotes"')
    assert out.getvalue().count("\n") == 1
    assert json.loads(out.getvalue())["message"] == 'two\nlines with "quotes"'


def fail() -> None:
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise ValueError(f"cannot read {SECRET}") from error


def test_the_text_of_an_exception_is_never_logged_but_where_it_came_from_is(stream):
    try:
        fail()
    except ValueError:
        logging.getLogger("sealora_client").exception("failed at %s", "train")
    told = stream.getvalue()
    assert "failed at train" in told
    assert "builtins.ValueError" in told
    assert "test_logs.py:" in told
    assert "fail" in told
    assert "Jane" not in told


def test_what_libraries_say_is_left_out_but_for_errors_and_for_those_that_read_records(stream):
    for name in ("httpx", "flwr", "transformers.tokenization", "tokenizers", "other"):
        logging.getLogger(name).warning("%s warns of %s", name, SECRET)
    warnings.warn(SECRET, stacklevel=1)
    logging.getLogger("transformers.models").error(SECRET)
    assert stream.getvalue() == ""
    logging.getLogger("flwr").error("flower is in trouble")
    assert stream.getvalue().count("flower is in trouble") == 1


def test_a_line_that_cannot_be_formatted_does_not_print_its_arguments(stream, capsys):
    logging.getLogger("sealora_client").error("round %d", SECRET)
    assert "Jane" not in stream.getvalue()
    assert "Jane" not in capsys.readouterr().err


def test_our_own_lines_are_told_from_info_on(stream):
    logging.getLogger("sealora_client.fleet").info("connected")
    logging.getLogger("sealora_common").debug("detail")
    assert "connected" in stream.getvalue()
    assert "detail" not in stream.getvalue()


def test_set_up_again_it_replaces_what_was_there(stream):
    again = io.StringIO()
    set_up_logs("text", stream=again)
    logging.getLogger("sealora_client").info("once")
    assert stream.getvalue() == ""
    assert again.getvalue().count("once") == 1


FORGED = "a\n2026-01-01 00:00:00 ERROR forged\x1b[2J\r\u202e\u2028b"


def test_a_message_cannot_forge_a_line_or_steer_a_terminal(stream):
    logging.getLogger("sealora_client").warning("site %s refused", FORGED, extra=fields(site=FORGED))
    told = stream.getvalue()
    assert told.count("\n") == 1
    assert told.rstrip("\n").isprintable()


def test_json_keeps_what_was_said():
    out = io.StringIO()
    set_up_logs("json", stream=out)
    logging.getLogger("sealora_client").warning(FORGED)
    assert json.loads(out.getvalue())["message"] == FORGED


@given(st.text(max_size=60))
def test_whatever_is_said_is_one_line(text):
    for formatter in (TextFormatter(), JsonFormatter(), SafeFormatter("%(message)s")):
        line = formatter.format(logging.LogRecord("x", logging.INFO, "", 0, "%s", (text,), None))
        assert line.isprintable()


def test_an_exception_s_lines_are_indented_and_safe_whatever_another_formatter_made_of_it():
    try:
        raise ValueError(FORGED)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    raw = logging.Formatter().format(record)
    assert "\x1b" in raw
    first, *rest = SafeFormatter("%(message)s").format(record).split("\n")
    assert first == "failed"
    assert all(line.startswith("  ") and line.isprintable() for line in rest)
    assert any("test_logs.py" in line for line in rest)
    assert "forged" not in TextFormatter().format(record)


def test_a_command_s_messages_are_safe_too(capsys):
    root = logging.getLogger()
    root.handlers[:] = []
    set_up_command_logs(logging.INFO)
    logging.getLogger("sealora_client").info(FORGED)
    assert capsys.readouterr().err.rstrip("\n").isprintable()
