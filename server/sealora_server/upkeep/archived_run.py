"""A run put away in one file, and taken out again: for a run that is over, or that rests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealora_common.archive.manifest import Manifest
from sealora_common.archive.read import Archive, opened_archive
from sealora_common.archive.write import new_archive
from sealora_common.errors import SealoraError
from sealora_common.identity import Identity, key_to_text
from sealora_common.storage.lock import DirectoryLock
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.runs.submission import Operation
from sealora_server.run.store import RunStore
from sealora_server.upkeep.run_files import add_run

_NEEDED = ("run.json", "recipe.yaml", "roster.json")


@dataclass(frozen=True)
class ArchivedRun:
    """What was put away.

    Attributes:
        rounds: how many of its rounds are in the archive.
        finished: whether the run had come to its end.
    """

    rounds: int
    finished: bool

    def text(self, file: Path, run: str, identity: Identity) -> str:
        """What whoever asked for it is told: where it is, what is in it and who signed it."""
        how = "finished" if self.finished else "not finished"
        return f"{file}: run {run}, {how}, {self.rounds} rounds; signed by the server's key {identity.fingerprint}"


def archive_run(directory: Path, file: Path, identity: Identity) -> ArchivedRun:
    """Writes a run that is not at work to one file. The run stays where it is.

    Args:
        directory: the run's.
        file: where it goes; nothing may be there.
        identity: the server's, which signs the archive.

    Raises:
        DeploymentError: it is under way or in line.
        LockedError: its process is at work.
        StorageError: a file of it is damaged or cannot be read, or the archive cannot be written.
    """
    store = RunStore.open(directory)
    condition = Operation.load(directory).condition
    if condition in {"running", "queued"}:
        raise DeploymentError(f"run {directory.name!r} is {condition}: stop it first, or wait for its end")
    with (
        DirectoryLock(directory, "this run"),
        new_archive(file, kind="run", name=directory.name, identity=identity) as writer,
    ):
        rounds = add_run(writer, store)
    return ArchivedRun(rounds, store.is_finished)


def verified(file: Path) -> Manifest:
    """Checks an archive of any kind, every file of it; needs no other file, and no network.

    Raises:
        StorageError: it is damaged, was cut short or changed.
    """
    with opened_archive(file) as archive:
        archive.verify()
        return archive.manifest


def unarchive_run(file: Path, directory: Path, signed_by: bytes) -> Manifest:
    """Puts an archived run into a new directory, finished or stopped as it was.

    Args:
        file: the archive.
        directory: where nothing may be.
        signed_by: the public key of the server whose runs this one goes among.

    Raises:
        DeploymentError: it is another server's, or the same run is there under another name.
        StorageError: the archive was changed or cut short, or the directory cannot be made.
    """
    with opened_archive(file, "run") as archive:
        _require_run(archive)
        if archive.manifest.public_key != key_to_text(signed_by):
            raise DeploymentError(
                f"{file} was made by the server with the key {archive.manifest.fingerprint}, not by this one: put it "
                "into a directory of its own with --to"
            )

        def settle(made: Path) -> None:
            _require_new(RunStore.open(made), directory.parent)
            _settle(made)

        archive.extract(directory, finish=settle)
        return archive.manifest


def unpack_run(file: Path, directory: Path) -> Manifest:
    """Puts an archived run of whichever server into a directory of its own, to be looked at.

    Raises:
        StorageError: the archive was changed or cut short, or the directory cannot be made.
    """
    with opened_archive(file, "run") as archive:
        _require_run(archive)
        archive.extract(directory)
        return archive.manifest


def _require_run(archive: Archive) -> None:
    there = {each.path for each in archive.files}
    if missing := [name for name in _NEEDED if name not in there]:
        raise DeploymentError(f"{archive.file}: holds no {missing[0]}, so no run comes of it: take another copy of it")


def _require_new(store: RunStore, runs: Path) -> None:
    """One run is to be there once: twice, both could order its next round."""
    for other in sorted(runs.glob("*/run.json")):
        if other.parent.name.startswith("."):
            continue
        if _run_id(other.parent) == store.run_id:
            raise DeploymentError(f"the same run is here as {other.parent.name!r}: delete that one first, or use --to")


def _run_id(directory: Path) -> str | None:
    """Of the run there; None if it is damaged, and so goes nowhere."""
    try:
        return RunStore.open(directory).run_id
    except SealoraError:
        return None


def _settle(directory: Path) -> None:
    """A run that was taken out of an archive waits for its operator, unless it had come to its end."""
    store = RunStore.open(directory)
    if store.is_finished:
        Operation(condition="finished").save(directory)
    else:
        Operation(condition="stopped", said="it was taken out of an archive: resume it").save(directory)
