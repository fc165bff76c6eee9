"""A signed directory: written whole or not at all, and read back byte by byte."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sealora_common import __version__
from sealora_common.canonical import digest
from sealora_common.config import LARGE, read_file, why_not
from sealora_common.dossier.manifest import MANIFEST, SIGNATURE, SITES, DossierManifest, ManifestFile, ManifestPart
from sealora_common.errors import PolicyError, StorageError, UnreadableError
from sealora_common.identity import Identity
from sealora_common.storage.durable import rename_durably, write_atomically
from sealora_common.storage.own_files import make_directory

VERIFIER = "verify_dossier.py"
"""In every part: the script that checks it."""


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def require_new(out: Path) -> None:
    """Refuses a directory that holds something: a dossier replaces none, for somebody may have signed it.

    Raises:
        StorageError: it does.
    """
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise StorageError(f"{out} exists: a dossier replaces nothing, so name another directory")


def write_signed(
    out: Path,
    content: Mapping[str, bytes],
    identity: Identity,
    *,
    kind: Literal["server", "site"],
    name: str,
    run: str,
    recipe_hash: str,
    parts: Mapping[str, Mapping[str, bytes]] | None = None,
) -> DossierManifest:
    """Writes a part with its manifest, signed by `identity`, and the sites' parts that belong to it.

    Args:
        out: the directory, new or empty.
        content: path in the part -> content.
        identity: of the server, or the site.
        kind: whose part it is.
        name: of the run, or the site.
        run: the run's identity (hex).
        recipe_hash: of its recipe (hex).
        parts: site -> all files of its part, as `read_signed` gives them.

    Raises:
        StorageError: it could not be written, or the directory holds something.
    """
    out = out.absolute()  # so that it has a name, and one beside it
    require_new(out)
    whole = {**content, VERIFIER: _read(Path(__file__).with_name(VERIFIER))}
    given = parts or {}
    manifest = DossierManifest(
        kind=kind,
        name=name,
        run=run,
        recipe_hash=recipe_hash,
        created=now(),
        release=__version__,
        public_key=identity.public_key_text,
        files=tuple(_file(path, whole[path]) for path in sorted(whole)),
        parts=tuple(ManifestPart(site=s, manifest_sha256=digest(given[s][MANIFEST])) for s in sorted(given)),
    )
    whole |= {f"{SITES}/{site}/{path}": each for site, files in given.items() for path, each in files.items()}
    aside = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        make_directory(aside)
        for path, each in whole.items():
            write_atomically(aside / path, each)
        write_atomically(aside / MANIFEST, manifest.to_bytes())
        write_atomically(aside / SIGNATURE, manifest.signed_by(identity))
        rename_durably(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return manifest


def read_signed(directory: Path) -> tuple[DossierManifest, dict[str, bytes]]:
    """A part without parts of its own, every file of it checked against the manifest. Whose key signed it is not.

    Returns:
        The manifest, and path -> content of all files, the manifest and its signature among them.

    Raises:
        PolicyError: the signature does not hold, or a file is missing, too many or another.
        StorageError: it cannot be read.
    """
    content, signature = _read(directory / MANIFEST), _read(directory / SIGNATURE)
    manifest = DossierManifest.read(content, signature, str(directory / MANIFEST))
    found = _names_in(directory)
    expected = {MANIFEST, SIGNATURE, *(file.path for file in manifest.files)}
    if different := sorted(found ^ expected):
        what = "is missing" if different[0] in expected else "is in no manifest"
        raise PolicyError(f"{directory / different[0]}: {what}: ask for the part again")
    whole = {MANIFEST: content, SIGNATURE: signature}
    for file in manifest.files:
        whole[file.path] = _read(directory / file.path)
        if _file(file.path, whole[file.path]) != file:
            raise PolicyError(f"{directory / file.path}: was changed after it was signed: ask for the part again")
    return manifest, whole


def _names_in(directory: Path) -> set[str]:
    """Paths of all files, and of links, which are no files of a part."""
    return {
        (Path(folder) / name).relative_to(directory).as_posix()
        for folder, folders, names in os.walk(directory)
        for name in (*names, *(each for each in folders if (Path(folder) / each).is_symlink()))
    }


def _file(path: str, content: bytes) -> ManifestFile:
    return ManifestFile(path=path, sha256=digest(content), size=len(content))


def _read(path: Path) -> bytes:
    if path.is_symlink():
        raise PolicyError(f"{path}: is a symbolic link, and no part has any: ask for the part again")
    try:
        return read_file(path, LARGE.longest)
    except (OSError, UnreadableError) as error:
        raise StorageError(f"{path}: cannot be read ({why_not(error)}): give the directory of a site's part") from None
