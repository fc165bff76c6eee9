"""Dossiers of tiny runs, and what a lying operator makes of one: changed, signed again, and checked by the script."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from sealora_common.canonical import digest
from sealora_common.dossier import verify_dossier
from sealora_common.dossier.directory import now
from sealora_common.dossier.manifest import MANIFEST, SIGNATURE, DossierManifest, ManifestFile, ManifestPart
from sealora_common.identity import Identity


def check(directory: Path, key: str, *words: object) -> tuple[int, str]:
    """The script's exit status and what it prints."""
    said = io.StringIO()
    argv = ["verify_dossier.py", str(directory), "--key", key, *map(str, words)]
    with mock.patch.object(sys, "argv", argv), contextlib.redirect_stdout(said):
        status = verify_dossier.main()
    return status, said.getvalue()


def files_of(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def manifest_of(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / MANIFEST).read_bytes())
    return found


def fingerprint_of(directory: Path) -> str:
    content, signature = (directory / MANIFEST).read_bytes(), (directory / SIGNATURE).read_bytes()
    return DossierManifest.read(content, signature, str(directory)).fingerprint


def signed_again(directory: Path, identity: Identity, **changes: Any) -> None:
    """Makes the manifest anew of what lies in the directory, as whoever has the key can."""
    before = manifest_of(directory)
    own = [path for path in files_of(directory) if path.name not in (MANIFEST, SIGNATURE)]
    if before["kind"] == "server":
        own = [path for path in own if path.relative_to(directory).parts[0] != "sites"]
    entries = [
        ManifestFile(
            path=path.relative_to(directory).as_posix(), sha256=digest(path.read_bytes()), size=path.stat().st_size
        )
        for path in own
    ]
    parts = [
        ManifestPart(site=home.name, manifest_sha256=digest((home / MANIFEST).read_bytes()))
        for home in sorted((directory / "sites").glob("*"))
    ]
    made = DossierManifest(
        kind=before["kind"],
        name=before["name"],
        run=before["run"],
        recipe_hash=before["recipe_hash"],
        created=now(),
        release=before["release"],
        public_key=identity.public_key_text,
        files=tuple(sorted(entries, key=lambda entry: entry.path)),
        parts=tuple(parts),
    ).model_copy(update=changes)
    (directory / MANIFEST).write_bytes(made.to_bytes())
    (directory / SIGNATURE).write_bytes(made.signed_by(identity))


def figures(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "source" in value:
            yield value
        else:
            for inner in value.values():
                yield from figures(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from figures(inner)
