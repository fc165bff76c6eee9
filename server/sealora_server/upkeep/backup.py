"""A server's directory in one file, and back: also while the server is at work, and in the middle of a run.

In it: configuration, identity, certificates and their keys, the sites' node keys, and every run (`run_files`). Not in
it: what a start makes anew (`state/`, `sockets/`), logs, and certificates that lie outside of the directory. Private
keys are locked by the archive's passphrase; whoever leaves them open says so.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sealora_common.archive.manifest import Manifest
from sealora_common.archive.read import Passphrase, opened_archive, require_free
from sealora_common.archive.write import ArchiveWriter, new_archive
from sealora_common.config import SMALL, read_file, why_not
from sealora_common.errors import SealoraError, StorageError, UnreadableError
from sealora_common.identity import Identity
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.initialise import AUTHORITY_KEY, CONFIG
from sealora_server.run.store import RunStore
from sealora_server.upkeep.run_files import add_run


@dataclass(frozen=True)
class ServerBackup:
    """What was backed up.

    Attributes:
        runs: name of each run -> how many of its rounds are in the archive.
        left_out: what is not in it, and why, a sentence each.
    """

    runs: dict[str, int]
    left_out: tuple[str, ...]


def back_up_server(server: ServerDirectory, file: Path, passphrase: bytes | None) -> ServerBackup:
    """Writes a server's directory to one file.

    Args:
        server: the directory.
        file: where it goes; nothing may be there.
        passphrase: locks the private keys; None leaves them open.

    Raises:
        StorageError: a file cannot be read, or the archive cannot be written.
    """
    identity = Identity.load("server", server.identity)
    left_out: list[str] = []
    runs: dict[str, int] = {}
    tls = [server.certificate, server.ca, server.key, server.path / AUTHORITY_KEY]
    with new_archive(
        file, kind="server", name=server.config.hosts[0], identity=identity, passphrase=passphrase
    ) as writer:
        for path in (server.config_file, server.public_key, server.nodes, server.identity, *tls):
            if path is not None and path.exists():
                secret = path in {server.identity, server.key, server.path / AUTHORITY_KEY}
                left_out += _add(writer, server, path, locked=secret)
        for directory in sorted(server.runs.glob("*")):
            if directory.name.startswith(".") or not directory.is_dir():
                continue
            try:
                store = RunStore.open(directory)
            except SealoraError as error:
                left_out.append(f"run {directory.name}, which is damaged: {error}")
                continue
            runs[directory.name] = add_run(writer, store, f"runs/{directory.name}/")
    return ServerBackup(runs, tuple(left_out))


def restore_server(file: Path, directory: Path, passphrase: Passphrase) -> tuple[ServerDirectory, Manifest]:
    """Puts a server's directory back where nothing is; runs that were under way go on at the server's next start.

    Args:
        file: the archive.
        directory: new, or empty.
        passphrase: asked for if private keys are locked.

    Raises:
        DeploymentError: the archive is whole and holds no server.
        StorageError: the archive was changed or cut short, the passphrase is wrong, or something is there already.
    """
    require_free(directory)
    with opened_archive(file, "server") as archive:
        archive.extract(directory, passphrase, finish=_require_server(archive.manifest, file))
        return ServerDirectory(directory / CONFIG), archive.manifest


def _require_server(manifest: Manifest, file: Path) -> Callable[[Path], None]:
    def check(made: Path) -> None:
        server = ServerDirectory(made / CONFIG)
        _ = server.config
        identity = Identity.load("server", server.identity)
        if identity.public_key_text != manifest.public_key:
            raise DeploymentError(f"{file}: was signed by another key than its server's: take another copy of it")

    return check


def _add(writer: ArchiveWriter, server: ServerDirectory, path: Path, *, locked: bool) -> list[str]:
    """Adds one file; a sentence if it lies elsewhere."""
    name = CONFIG if path == server.config_file else None
    if name is None and (not path.is_relative_to(server.path) or ".." in path.parts):
        return [f"{path}, which lies outside of the server's directory"]
    try:
        content = read_file(path, SMALL.longest if locked else 2**24)
        public = bool(path.stat().st_mode & stat.S_IROTH) and not locked
    except (OSError, UnreadableError) as error:
        raise StorageError(f"{path}: cannot be read ({why_not(error)}): give this account the right to") from None
    writer.add(name or path.relative_to(server.path).as_posix(), content, locked=locked, public=public)
    return []
