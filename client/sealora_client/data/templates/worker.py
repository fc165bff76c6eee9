"""The process in which templates are rendered, one conversation or one prompt at a time: see `rendering`.

A template is a program that came with the model, or with the recipe. It runs as transformers would run it, in Jinja's
sandbox, which bounds neither time nor memory; here the kernel does. The process has little that a template could want:
no open file but its pipes, no right to write one, and none of the environment's secrets.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import struct
import sys
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any, ClassVar

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers.utils import chat_template_utils

LENGTH = struct.Struct("<Q")
_PAGE = resource.getpagesize()


class _Clock(datetime):
    """What templates take for the clock: they get it from transformers, which hands on no other function of ours."""

    stands: ClassVar[datetime | None] = None
    """The moment at which it stands, at the day's beginning, so that the hour is the same everywhere, too; None if it
    goes."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return cls.stands or datetime.now(tz)


def main() -> None:
    """Answers until its standard input ends. Arguments: seconds of computing, and bytes, for one conversation."""
    seconds, size = float(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the site
    with open("/proc/self/statm", encoding="ascii") as statm:
        used = int(statm.read().split()[0]) * _PAGE
    for kind, limit in (
        (resource.RLIMIT_AS, used + size),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    chat_template_utils.datetime = _Clock
    while True:
        asked = _read()
        if asked is None:
            return
        signal.setitimer(signal.ITIMER_PROF, seconds)  # at its end the kernel ends this process
        try:
            answer = _answer(json.loads(asked))
        except MemoryError:
            os._exit(1)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(answer)


def _answer(asked: dict[str, Any]) -> bytes:
    random.seed(asked["moment"])  # of the operating system's if it is None
    try:
        text = _of_fields(asked) if asked["turns"] is None else _of_turns(asked)
    except TemplateError:
        return b'{"failed": "refused"}'
    except MemoryError:
        raise
    except Exception:  # whatever a template makes of a text
        return b'{"failed": "broken"}'
    if len(text) > asked["longest"]:
        raise MemoryError
    return json.dumps({"text": text}).encode()


def _of_turns(asked: dict[str, Any]) -> str:
    _Clock.stands = None if asked["date"] is None else datetime.fromisoformat(asked["date"])
    rendered, _ = chat_template_utils.render_jinja_template(
        conversations=[asked["turns"]],
        chat_template=asked["template"],
        add_generation_prompt=asked["prompt"],
        **asked["marks"],
    )
    text: str = rendered[0]
    return text


def _of_fields(asked: dict[str, Any]) -> str:
    sandbox = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    return sandbox.from_string(asked["template"]).render(asked["marks"])


def _shown(value: object) -> object:
    """A value that is to be written: a method that was not called, or an iterator, would be written as its address."""
    if callable(value) or isinstance(value, Iterator):
        raise TemplateError("no value")
    return value


def _read() -> bytes | None:
    head = sys.stdin.buffer.read(LENGTH.size)
    return sys.stdin.buffer.read(*LENGTH.unpack(head)) if len(head) == LENGTH.size else None


def _write(answer: bytes) -> None:
    sys.stdout.buffer.write(LENGTH.pack(len(answer)) + answer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
