"""A form with files (RFC 7578), as browsers send it.

Read here, and not by starlette's parser: with python-multipart 0.0.34 it takes a form that was cut short for a whole
one (a roster would be missing, and nobody told), a text that is no UTF-8 for Latin-1, and heads of any length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_MOST_PARTS = 64
_LONGEST_HEAD = 2048
_LONGEST_TEXT = 64 * 2**10
_BOUNDARY = re.compile(r'multipart/form-data; *boundary=(?:"([^"\r\n]{1,70})"|([^";\r\n ]{1,70}))', re.IGNORECASE)
_DISPOSITION = re.compile(
    rb'^content-disposition: *form-data; *name="([^"\r\n]{1,64})"(; *filename="[^"\r\n]*")?',
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True)
class UploadedForm:
    """What was sent, by the names of a form's fields; the first of each name.

    Attributes:
        fields: texts.
        files: what is in the files that were chosen. What they are called says nothing here.
    """

    fields: Mapping[str, str]
    files: Mapping[str, bytes]

    def file(self, name: str) -> bytes | None:
        """A file; None if none was chosen."""
        return self.files.get(name) or None


def uploaded_form(content_type: str, body: bytes) -> UploadedForm:
    """Reads it.

    Raises:
        ValueError: it is none, or has more in it than any form of ours.
    """
    found = _BOUNDARY.match(content_type)
    if found is None:
        raise ValueError("no form with files")
    line = b"--" + (found[1] or found[2]).encode("latin-1")
    pieces = (b"\r\n" + body).split(b"\r\n" + line, _MOST_PARTS + 2)
    if len(pieces) > _MOST_PARTS + 2 or len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise ValueError("cut short, or of too many parts")
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for piece in pieces[1:-1]:
        head, end, content = piece.partition(b"\r\n\r\n")
        told = _DISPOSITION.search(head) if len(head) <= _LONGEST_HEAD else None
        if told is None or not end:
            raise ValueError("a part without a name")
        name = told[1].decode("utf-8")  # of which a UnicodeDecodeError is a ValueError
        if told[2] is not None:
            files.setdefault(name, content)
        elif len(content) <= _LONGEST_TEXT:
            fields.setdefault(name, content.decode("utf-8"))
        else:
            raise ValueError("a text that is too long")
    return UploadedForm(fields, files)
