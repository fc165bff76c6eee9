"""Rendering of a model's chat template, within limits of time and memory.

A template comes with the model and is a program: it can loop for ever or build a text of gigabytes, and no sandbox of
Python's bounds either. So it runs in a process of its own (`worker`), which is kept from one conversation to
the next and replaced when a template has used it up. What a conversation may take is the same for each and depends on
nothing but itself: computing time, not time of the clock, so that a busy machine changes nothing.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import date
from typing import Any

from transformers import PreTrainedTokenizerBase

from sealora_client.data.templates.worker import LENGTH
from sealora_common.config import Bounds, json_value
from sealora_common.errors import DataError, ModelError, SealoraError
from sealora_common.show.size_text import size_text

SECONDS = 1.0
"""Computing time that one conversation may take."""
SIZE = 512 << 20
"""Bytes of memory that rendering may take beyond what the process has at its start."""
_CLOCK_SECONDS = 120.0
"""Should the process neither answer nor end: it may be stopped, or starved by others."""
_GROWTH = 4
_SLACK = 1 << 20
_PROBE = "Hello"
_CLOCK = "{{% macro strftime_now(form) %}}{}{{% endmacro %}}"
"""Stands before a template that is to meet another clock: transformers hands templates no function but its own."""
_KEPT = ("PATH", "TZ", "LANG", "LD_LIBRARY_PATH")


class TemplateRefusedError(SealoraError):
    """The template raised: it takes no such conversation."""


class TemplateBrokenError(SealoraError):
    """Rendering failed with an error of Python's."""


class TemplateOverrunError(SealoraError):
    """Rendering took more time or memory than it may, or made too much text."""


class Renderer:
    """A process that renders, started when it is first needed. Safe to use from several threads."""

    def __init__(self, seconds: float = SECONDS, size: int = SIZE) -> None:
        self._limits = (str(seconds), str(size))
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._overran: set[bytes] = set()

    def render(
        self,
        template: str,
        turns: list[dict[str, str]],
        marks: dict[str, Any],
        *,
        prompt: bool,
        date: date | None = None,
        moment: int | None = None,
    ) -> str:
        """The conversation as text.

        Args:
            template: Jinja's source.
            turns: `role` and `content` of each.
            marks: the tokenizer's special tokens, by name.
            prompt: whether the text goes up to where the response begins.
            date: the day on which the template believes to be; None for the process's.
            moment: sets the clock, if there is no `date`, and the chance that the template meets; None for those of
                the process.

        Raises:
            TemplateRefusedError: the template raised.
            TemplateBrokenError: it failed.
            TemplateOverrunError: it went beyond its limits.
        """
        longest = _SLACK + _GROWTH * sum(len(turn["content"]) for turn in turns)
        asked: dict[str, Any] = {"template": template, "turns": turns, "marks": marks, "prompt": prompt}
        asked |= {"longest": longest, "date": None if date is None else date.isoformat(), "moment": moment}
        if moment is not None and date is None:
            asked["template"] = _CLOCK.format(11 + moment) + template
        return self._asked(json.dumps(asked, default=str).encode(), longest, "the chat template", "conversation")

    def render_text(self, template: str, fields: Mapping[str, object]) -> str:
        """A text with these fields in it, each a variable of the template; one that is not there is an error.

        Raises:
            TemplateRefusedError, TemplateBrokenError, TemplateOverrunError: as for `render`.
        """
        # Of fields as they are: which of them a template shows, and how often, is its business.
        longest = _SLACK + _GROWTH * len(json.dumps(fields, default=str))
        asked = {"template": template, "turns": None, "marks": fields, "longest": longest, "moment": 0}
        return self._asked(json.dumps(asked, default=str).encode(), longest, "the template", "record")

    def _asked(self, content: bytes, longest: int, what: str, of: str) -> str:
        name = hashlib.sha256(content).digest()
        with self._lock:
            # As JSON, a character takes twelve bytes at most.
            answer = None if name in self._overran else self._answer(content, _SLACK + 12 * longest)
            if answer is None:  # remembered, so that a text that is asked for again costs nothing again
                self._overran.add(name)
                raise TemplateOverrunError(
                    f"{what} takes more than {self._limits[0]} s, {size_text(int(self._limits[1]))} or "
                    f"{longest} characters for one {of}: use another {'base model' if of == 'conversation' else of}"
                )
        told = json_value(answer, Bounds(longest=len(answer), depth=1, nodes=8))
        if isinstance(told, dict) and "text" in told:
            return str(told["text"])
        refused = isinstance(told, dict) and told.get("failed") == "refused"
        kind = TemplateRefusedError if refused else TemplateBrokenError
        raise kind(
            "the chat template takes no such conversation: use another base model"
            if of == "conversation"
            else "it is no Jinja template, or takes a field that the record lacks: correct either"
        )

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            self._end()

    def _answer(self, content: bytes, most: int) -> bytes | None:
        """As `_exchange`, of a process that nothing is left in of what others were rendered as.

        Garbage that a template has made takes room and time of whoever comes next, and whether that is rendered would
        depend on who came before: whoever has found too little in a used process is given a fresh one.
        """
        was_used = self._is_running
        answer = self._exchange(content, most)
        return self._exchange(content, most) if answer is None and was_used else answer

    def _exchange(self, content: bytes, most: int) -> bytes | None:
        """The process's answer of at most so many bytes; None if it ended without one."""
        process = self._running()
        try:
            assert process.stdin is not None  # noqa: S101 (a pipe was asked for)
            process.stdin.write(LENGTH.pack(len(content)) + content)
            process.stdin.flush()
            ends = time.monotonic() + _CLOCK_SECONDS
            (size,) = LENGTH.unpack(self._read(process, LENGTH.size, ends))
            if size > most:  # a template that has broken out of its sandbox
                raise EOFError
            return self._read(process, size, ends)
        except (OSError, EOFError):
            self._end()
            return None
        except BaseException:  # a wish to stop: what was asked must not be taken for the answer to the next question
            self._end()
            raise

    def _read(self, process: subprocess.Popen[bytes], size: int, ends: float) -> bytes:
        assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
        content = bytearray()
        while len(content) < size:
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, ends - time.monotonic()))
            piece = os.read(process.stdout.fileno(), size - len(content)) if ready else b""
            if not piece:
                raise EOFError
            content += piece
        return bytes(content)

    @property
    def _is_running(self) -> bool:
        return self._process is not None and self._owner == os.getpid()  # a fork has pipes that its parent reads

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or not self._is_running:
            kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
            places = os.pathsep.join(filter(None, sys.path))
            self._owner = os.getpid()
            self._process = subprocess.Popen(  # noqa: S603 (this Python, and a module of ours)
                [sys.executable, "-P", "-m", "sealora_client.data.templates.worker", *self._limits],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Sets come in one order in all processes: one that is replaced renders as the one before.
                env={**kept, "PYTHONPATH": places, "PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1"},
                cwd="/",
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.communicate()


_renderer = Renderer()
atexit.register(_renderer.close)


def render(
    tokenizer: PreTrainedTokenizerBase,
    turns: list[dict[str, str]],
    *,
    prompt: bool,
    date: date | None = None,
    moment: int | None = None,
) -> str:
    """The conversation as `tokenizer.apply_chat_template` would write it; arguments as of `Renderer.render`.

    Raises:
        TemplateRefusedError, TemplateBrokenError, TemplateOverrunError: see `Renderer.render`.
        ValueError: the tokenizer has no template, or none for this purpose.
    """
    marks = tokenizer.special_tokens_map
    return _renderer.render(tokenizer.get_chat_template(), turns, marks, prompt=prompt, date=date, moment=moment)


def render_text(template: str, fields: Mapping[str, object]) -> str:
    """See `Renderer.render_text`."""
    return _renderer.render_text(template, fields)


def check_text_template(template: str, where: str) -> None:
    """Refuses a template that goes beyond its limits before it meets any field: it would do so for each record anew.

    Whatever comes of it depends on no record. What it makes of a record, or does not, is that record's own affair.

    Raises:
        DataError: it does; the sentence names `where`.
    """
    try:
        render_text(template, {})
    except TemplateOverrunError:
        raise DataError(
            f"{where} takes more than {SECONDS:g} s or {size_text(SIZE)} before it comes to any field of a record: "
            "write a simpler one"
        ) from None
    except SealoraError:  # it has fields to show, as a rule, and here are none
        return


def check_template(tokenizer: PreTrainedTokenizerBase, where: str) -> None:
    """Refuses a tokenizer whose chat template goes beyond its limits for a single word.

    Whatever comes of it depends on no record. A template that goes beyond them for one record costs that record alone.

    Raises:
        ModelError: it does; the sentence names `where`.
    """
    if tokenizer.chat_template is None:
        return
    user, answer = {"role": "user", "content": _PROBE}, {"role": "assistant", "content": _PROBE}
    for turns, prompt in (([user], True), ([user, answer], False), ([{**user, "role": "system"}, user], True)):
        try:
            render(tokenizer, turns, prompt=prompt)
        except TemplateOverrunError as error:
            raise ModelError(f"{where}: {error}") from None
        except (SealoraError, ValueError):  # a template need not take each of these
            continue
