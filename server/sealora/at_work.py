"""What a call of this package takes of the process that it is made in, and gives back."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import threading
from collections.abc import Iterator
from typing import Final

from rich.console import Console

from sealora_common.errors import SealoraError
from sealora_common.health.logs import quiet_libraries
from sealora_common.show.console import SafeConsole
from sealora_common.storage.own_files import kept_to_this_account

_LOCK = threading.RLock()
"""One call at a time: the umask, warnings and Flower's task identity are the whole process's."""

_ARGUMENTS: Final = {
    "--continue-from": "continue_from",
    "--merged": "merged=True",
    "--only": "only",
    "--out": "out",
    "--parameters": "parameters",
    "--persons": "records",
    "--records": "records",
    "--resume": "resume=True",
    "--seeds": "seeds",
    "--sites": "sites",
}
"""Options of the commands that sentences of the packages beneath speak of, and what they are called here."""
_OPTION: Final = re.compile(rf"(?<![\w-])({'|'.join(_ARGUMENTS)})(?![\w-])")


@contextlib.contextmanager
def at_work() -> Iterator[None]:
    """While it lasts files are made for this account alone, and libraries are quiet; another thread's call waits.

    Raises:
        SealoraError: as it comes, with arguments of Python in place of options of a command.
    """
    with _LOCK, kept_to_this_account(), quiet_libraries(), in_words_of_python():
        yield


@contextlib.contextmanager
def in_words_of_python() -> Iterator[None]:
    """Has errors speak of arguments where a command would speak of options."""
    try:
        yield
    except SealoraError as error:
        error.args = tuple(without_options(each) if isinstance(each, str) else each for each in error.args)
        raise


def without_options(sentence: str) -> str:
    """The sentence with the names of arguments in place of those of options."""
    return _OPTION.sub(lambda found: _ARGUMENTS[found[1]], sentence)


def progress_console(shown: bool) -> Console:
    """Where progress goes: a live frame on a terminal, plain lines in a notebook or a pipe, or nowhere.

    Rich's own way into notebooks is left alone: it makes an output of each line, and of a frame a heap of them.
    """
    if not shown:
        return SafeConsole(file=io.StringIO(), quiet=True)
    is_terminal = bool(getattr(sys.stdout, "isatty", lambda: False)())
    # Not asked of the environment: notebooks' kernels set FORCE_COLOR, and draw no frames.
    return SafeConsole(force_jupyter=False, force_terminal=None if is_terminal else False)
