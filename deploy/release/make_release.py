"""Makes a release of the last commit: wheel, sdist, locked requirements, SBOMs, checksums and, with a key, a signature.

`make release`, or `make release SIGN_KEY=FILE`. Whoever has the commit gets the same bytes: docs/supply-chain.md.
Exit status: 0, the release is there (without a key: unsigned, which is said); 1, it is not.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
NAMESPACE = "sealora-release"
"""What the signature is for, so that it holds for nothing else that the key signs."""
SUMS = "SHA256SUMS"
INSTALLATIONS = {"server": ("server",), "site": ("site", "torch-cuda")}
"""Which lock files an installation is made of, each described by one SBOM. torch-cpu stands for torch-cuda alone."""
VERIFIER = Path("common/sealora_common/dossier/verify_dossier.py")
"""What checks a dossier where nothing of Sealora is installed: to be had from elsewhere than the dossier."""
LOCKS = ("server", "site", "torch-cpu", "torch-cuda")


class ReleaseError(Exception):
    """Why there is no release, in one sentence."""


def run(*command: str | Path, stdin: str | None = None, epoch: str | None = None) -> str:
    """What a program prints.

    Raises:
        ReleaseError: it is not installed, or failed.
    """
    environment = os.environ | ({"SOURCE_DATE_EPOCH": epoch} if epoch else {})
    try:
        done = subprocess.run(
            command, cwd=PROJECT, env=environment, input=stdin, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise ReleaseError(f"{command[0]} is not installed: install it and try again") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["it said nothing"]
        raise ReleaseError(f"{' '.join(map(str, command[:4]))} failed: {said[0]}")
    return done.stdout


def export(commit: str, scratch: Path) -> Path:
    """The files of a commit, whatever else lies in the checkout."""
    archive, source = scratch / "source.tar", scratch / "source"
    run("git", "archive", "--format=tar", "--output", archive, commit)
    source.mkdir()
    run("tar", "--extract", "--file", archive, "--directory", source)
    return source


def build(source: Path, out: Path, epoch: str) -> None:
    """Writes sdist, wheel (built from the sdist), locked requirements, SBOMs, verifier and checksums into `out`."""
    python, requirements = sys.executable, source / "deploy" / "requirements"
    run(python, "-m", "build", "--no-isolation", "--outdir", out, source, epoch=epoch)
    for name in LOCKS:
        shutil.copyfile(requirements / f"{name}.txt", out / f"requirements-{name}.txt")
    shutil.copyfile(source / VERIFIER, out / VERIFIER.name)
    for installation, locks in INSTALLATIONS.items():
        described = out / f"sealora-{installation}.cdx.json"
        words: list[str | Path] = [
            "--pyproject",
            source / "pyproject.toml",
            "--output-reproducible",
            "--of",
            "JSON",
            "-o",
            described,
            "-",
        ]
        locked = "".join((requirements / f"{name}.txt").read_text() for name in locks)
        run(python, "-W", "ignore", "-m", "cyclonedx_py", "requirements", *words, stdin=locked, epoch=epoch)
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(out.iterdir())]
    (out / SUMS).write_text("".join(sums))


def sign(directory: Path, key: Path) -> None:
    """Writes SHA256SUMS.sig, in OpenSSH's format for signatures, in place of an older one."""
    (directory / f"{SUMS}.sig").unlink(missing_ok=True)
    run("ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, directory / SUMS)


def checked_key(path: str) -> Path:
    """The signing key.

    Raises:
        ReleaseError: there is none, or it lies where it would be committed.
    """
    key = Path(path).resolve()
    if not key.is_file():
        raise ReleaseError(
            f"{path}: no such file: name your private OpenSSH key, or its public half if an agent holds it"
        )
    if key.is_relative_to(PROJECT):
        raise ReleaseError(
            f"{path}: a signing key does not belong in the checkout: keep it elsewhere and name it there"
        )
    return key


def release(out: Path, key: Path | None) -> Path:
    """Makes the release and returns its directory, `out`/sealora-VERSION.

    Raises:
        ReleaseError: a step failed, or another release of this version is there already. Nothing is left half done.
    """
    commit = run("git", "rev-parse", "HEAD").strip()
    epoch = run("git", "show", "--no-patch", "--format=%ct", commit).strip()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".making-") as scratch:
        source, made = export(commit, Path(scratch)), Path(scratch) / "made"
        made.mkdir()
        build(source, made, epoch)
        version = tomllib.loads((source / "pyproject.toml").read_text())["project"]["version"]
        if key:
            sign(made, key)
        directory = out / f"sealora-{version}"
        if not directory.exists():
            made.rename(directory)
        elif not (directory / SUMS).is_file() or (directory / SUMS).read_bytes() != (made / SUMS).read_bytes():
            raise ReleaseError(f"{directory} holds another release {version}: raise the version, or move it away")
        elif key:
            (made / f"{SUMS}.sig").replace(directory / f"{SUMS}.sig")
    return directory


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description="Makes a release of the last commit.")
    parser.add_argument("--out", type=Path, default=PROJECT / "dist")
    parser.add_argument("--key", help="private OpenSSH key that signs the checksums")
    arguments = parser.parse_args()
    try:
        if run("git", "status", "--porcelain"):
            print("Note: this is the last commit; what was changed since is not in it.")
        key = checked_key(arguments.key) if arguments.key else None
        directory = release(arguments.out.resolve(), key)
    except (ReleaseError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"{directory}:", *sorted(path.name for path in directory.iterdir()), sep="\n  ")
    if not (directory / f"{SUMS}.sig").exists():
        print(f"{SUMS} is not signed: name a key with SIGN_KEY=FILE if this is to be published.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
