"""The files that a part's figures come from: read once, copied beside the part, and asked for fields.

A figure is made here and nowhere else, so that none can be without the file, its SHA-256 and the field.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from sealora_common.canonical import digest
from sealora_common.config import LARGE, JsonValue, json_value, read_file, why_not, yaml_value
from sealora_common.dossier.figure import EVIDENCE, Figure, Scalar, Source, Value
from sealora_common.errors import StorageError, UnreadableError


class EvidenceFile:
    """One file of a run or a site.

    Args:
        path: where its copy lies in the part, or, of one that stays where it is, its name.
        content: its bytes.
    """

    def __init__(self, path: str, content: bytes) -> None:
        self.path = path
        self.content = content
        self.sha256 = digest(content)

    def field(self, name: str, pointer: str, *, unit: str = "", noise: str = "") -> Figure:
        """The figure at a JSON pointer (RFC 6901).

        Raises:
            StorageError: there is none there.
        """
        return self._figure(name, self._at(self._json, pointer), pointer, unit, noise)

    def line(self, name: str, number: int, pointer: str, *, unit: str = "", noise: str = "") -> Figure:
        """The figure at a pointer in a line (from 1) of lines of JSON.

        Raises:
            StorageError: there is none there.
        """
        value = self._at(self.lines[number - 1], pointer)
        return self._figure(name, value, f"{number}:{pointer}", unit, noise)

    def setting(self, name: str, dotted: str, *, unit: str = "", noise: str = "") -> Figure:
        """The figure at a dotted key in YAML.

        Raises:
            StorageError: there is none there.
        """
        return self._figure(name, self._at(self._yaml, "/" + dotted.replace(".", "/")), dotted, unit, noise)

    def worked_out(self, name: str, value: Value, how: str, *, unit: str = "", noise: str = "") -> Figure:
        """A figure that stands in no field: `how` says what makes it of the file."""
        return self._figure(name, value, f"worked out: {how}", unit, noise)

    def has(self, pointer: str) -> bool:
        """Whether there is a value, and not null, at a JSON pointer."""
        try:
            return self._at(self._json, pointer) is not None
        except StorageError:
            return False

    def has_line(self, number: int, pointer: str) -> bool:
        """Whether there is a value, perhaps null, at a pointer in a line; older versions wrote fewer fields."""
        try:
            self._at(self.lines[number - 1], pointer)
        except StorageError:
            return False
        return True

    @cached_property
    def lines(self) -> tuple[JsonValue, ...]:
        """Its lines of JSON; null for one that is none (a kill cut it short)."""
        return tuple(self._lines())

    def _lines(self) -> Iterator[JsonValue]:
        for line in self.content.split(b"\n"):
            try:
                yield json_value(line, nan_is_null=True) if line.strip() else None
            except UnreadableError:
                yield None

    @cached_property
    def _json(self) -> JsonValue:
        try:
            return json_value(self.content)
        except UnreadableError as error:
            raise StorageError(f"{self.path}: cannot be read ({error}): restore it from a backup") from None

    @cached_property
    def _yaml(self) -> JsonValue:
        try:
            return yaml_value(self.content)
        except UnreadableError as error:
            raise StorageError(f"{self.path}: cannot be read ({error}): restore it from a backup") from None

    def _at(self, value: JsonValue, pointer: str) -> Value:
        found = value
        for part in pointer.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isascii() and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            else:
                raise StorageError(f"{self.path}: has no {pointer}: it is not the file of a whole run, restore it")
        if isinstance(found, list):
            return tuple(_scalar(each) for each in found)
        return _scalar(found)

    def _figure(self, name: str, value: Value, field: str, unit: str, noise: str) -> Figure:
        source = Source(file=self.path, sha256=self.sha256, field=field)
        return Figure(name=name, value=value, unit=unit, noise=noise, source=source)


class Evidence:
    """The files of one directory that a part is made from.

    Args:
        root: a run's directory, or a site's.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._copied: dict[str, EvidenceFile] = {}

    def copy(self, name: str, *, as_name: str | None = None) -> EvidenceFile | None:
        """The file `name` of the directory, of which the part gets a copy; None if it is not there.

        Raises:
            StorageError: it cannot be read.
        """
        path = self.root / name
        try:
            content = read_file(path, LARGE.longest)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnreadableError) as error:
            raise StorageError(f"{path}: cannot be read ({why_not(error)}): correct that") from None
        return self.add(as_name or name, content)

    def add(self, name: str, content: bytes) -> EvidenceFile:
        """A file that is made for the part: what was agreed on, say, or an extract of what must not leave."""
        file = EvidenceFile(f"{EVIDENCE}/{name}", content)
        self._copied[file.path] = file
        return file

    @property
    def files(self) -> dict[str, bytes]:
        """Path in the part -> content, of all that is copied."""
        return {path: file.content for path, file in self._copied.items()}


def _scalar(value: JsonValue) -> Scalar:
    if isinstance(value, dict | list):
        raise StorageError("a figure is one value, not an object of several: name the field below it")
    return value
