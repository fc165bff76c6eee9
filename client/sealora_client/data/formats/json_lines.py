"""JSON Lines: one object a line, in UTF-8."""

from __future__ import annotations

import itertools
import stat
from collections.abc import Iterator
from pathlib import Path

from sealora_client.data.formats.format import Row
from sealora_common.config import LINE, json_value, read_line
from sealora_common.errors import DataError, UnreadableError


def json_lines(path: Path) -> Iterator[Row]:
    """The file's objects; blank lines are skipped.

    Raises:
        DataError: the file cannot be read, or a line is no JSON object.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # It is read anew for every message, and opening a pipe waits for whoever writes to it.
            raise DataError(f"{path} is no file, but a directory, pipe or device: name a file of records")
        with path.open("rb") as file:
            for number in itertools.count(1):
                place = f"{path}, line {number}"
                try:
                    line = read_line(file, LINE.longest)
                except UnreadableError as error:
                    raise DataError(f"{place}: {error}: split the record") from error
                if not line:
                    return
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError as error:
                    raise DataError(f"{place}: not UTF-8 text: save the file in UTF-8") from error
                if not text:
                    continue
                try:
                    value = json_value(text)
                except UnreadableError as error:
                    raise DataError(f"{place}: {error.reason}: write one JSON object a line") from error
                if not isinstance(value, dict):
                    raise DataError(f"{place}: not a JSON object: write one object of fields a line, like {{...}}")
                yield Row(place, number, value)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: check the path of this site's records") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from error
