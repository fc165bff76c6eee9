"""One logging set-up for servers and sites: lines of text or of JSON on stderr, without anything private.

A line carries its message and, in JSON, the fields that were given with it:

    log.info("round %d finished", 3, extra=fields(round=3, seconds=41.5))

The text of an unexpected exception is left out, because it may quote what was being worked on, a record for
example. Its type and the places in the code that led to it are given. What libraries have to say is left out too,
but for errors; of those that read records not even these.

A message may quote what others wrote. `SafeFormatter` and `JsonFormatter`, of which every handler has one, see to it
that it cannot forge a second line or steer a terminal.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, TextIO

from sealora_common.show.moment_text import moment_text
from sealora_common.show.safe_text import LONGEST, safe_json, safe_text

LogFormat = Literal["text", "json"]

_OURS = ("sealora_common", "sealora_server", "sealora_client")
_READ_RECORDS = ("transformers", "tokenizers", "jinja2", "torch", "peft", "opacus", "bitsandbytes", "accelerate")
_NOISY = ("flwr", "ray", "bitsandbytes")
_FIELDS = "sealora_fields"

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def fields(**values: str | int | float | bool | None) -> dict[str, object]:
    """The `extra` of a logging call: fields of the JSON line, by name."""
    return {_FIELDS: values}


def set_up_logs(log_format: LogFormat, *, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Sets up the logging of this process; called again, it replaces what it set up before.

    Args:
        log_format: `text` for people, `json` for collectors (one object a line).
        level: lowest level of our own lines.
        stream: where lines go; stderr unless a test says otherwise.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    for former in list(root.handlers):
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(logging.ERROR)
    logging.raiseExceptions = False  # a line that cannot be formatted would be printed with all its arguments
    logging.captureWarnings(True)  # they would be lines of another form, and are below the level of libraries here
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    for name in _READ_RECORDS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    flower = logging.getLogger("flwr")  # it has a handler of its own, which would print lines of another form
    for former in list(flower.handlers):
        flower.removeHandler(former)
    flower.propagate = True
    flower.setLevel(logging.ERROR)


def set_up_command_logs(level: int, handler: logging.Handler | None = None) -> None:
    """What a command that ends by itself logs: messages alone, on stderr or through `handler`."""
    shown = handler or logging.StreamHandler()
    shown.setFormatter(SafeFormatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[shown])


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """While it lasts, libraries that simulations stand on say nothing but errors; what was said of it before is kept.

    One thread at a time: warnings and levels are the whole process's.
    """
    # What a simulated site refuses ends up in the run's events and in the error; said once is enough.
    loggers = [logging.getLogger(name) for name in (*_NOISY, "sealora_client.app")]
    former = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, former, strict=True):
                logger.setLevel(level)


class SafeFormatter(logging.Formatter):
    """One line a message, whatever others wrote that it quotes; an exception's lines follow, each indented.

    Args:
        form: of the line, as `logging.Formatter` has it.
        times: of its time.
        longest: characters of a line.
    """

    def __init__(self, form: str, times: str | None = None, *, longest: int = LONGEST) -> None:
        super().__init__(form, times)
        self._longest = longest

    def format(self, record: logging.LogRecord) -> str:
        """As `logging.Formatter` has it, but for what another formatter has made of the same record's exception."""
        record.exc_text = None
        text = super().format(record)
        record.exc_text = None
        return text

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        return safe_text(super().formatMessage(record), self._longest)

    def formatException(self, ei: ExceptionInfo) -> str:  # noqa: N802 (logging's own name)
        return self._indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 (logging's own name)
        return self._indented(stack_info)

    def _indented(self, text: str) -> str:
        return "\n".join(f"  {safe_text(line, self._longest)}" for line in text.split("\n"))


class TextFormatter(SafeFormatter):
    """`2026-01-31 23:59:59+01:00 WARNING message`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 (logging's own)
        return moment_text(record.created)

    def formatException(self, ei: ExceptionInfo) -> str:  # noqa: N802 (logging's own name)
        kind, places = _without_text(ei)
        return "\n".join([f"  {kind} (its text is left out: it may quote a record)", *(f"    {at}" for at in places)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC, ISO 8601), level, logger, message, then the fields given with the line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in getattr(record, _FIELDS, {}).items():
            line.setdefault(name, value)
        if record.exc_info:
            line["exception"], line["at"] = _without_text(record.exc_info)
        return safe_json(json.dumps(line, ensure_ascii=False, default=str))


def _without_text(info: ExceptionInfo) -> tuple[str, list[str]]:
    """An exception's type and the places that led to it, innermost last."""
    kind, _, trace = info
    if kind is None:
        return "no exception", []
    frames = traceback.extract_tb(trace)
    return f"{kind.__module__}.{kind.__qualname__}", [
        f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames
    ]
