"""`make release`, really run, on a repository of this one's files: what comes out, checked as who installs it would."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from deploy_files import PROJECT, VERSION
from locks import LOCKS, locked, version
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.slow

DIRECTORY = f"sealora-{VERSION}"
GUIDE = (PROJECT / "docs" / "supply-chain.md").read_text()
COMMITTED = {
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


def git(repository: Path, *words: str) -> str:
    named = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    command = ["git", "-C", str(repository), *named, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | COMMITTED).stdout


def checkout(at: Path) -> Path:
    """A repository with one commit of the files that this one tracks or is about to."""
    at.mkdir(parents=True)
    git(at, "init", "--quiet")
    for name in git(PROJECT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (PROJECT / name).is_file():
            (at / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, at / name)
    git(at, "add", "--all")
    git(at, "commit", "--quiet", "--message", "all")
    return at


def make(repository: Path, *variables: str, umask: int = 0o022, **environment: str) -> subprocess.CompletedProcess[str]:
    """`make release` without the installation, by this environment's Python."""
    words = ["make", "--silent", "--old-file=install", "release", f"BIN={Path(sys.executable).parent}", *variables]
    settings = os.environ | {"MAKEFLAGS": ""} | environment
    return subprocess.run(
        words, cwd=repository, capture_output=True, text=True, check=False, env=settings, umask=umask, timeout=300
    )


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
    return path


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkout(tmp_path_factory.mktemp("project") / "checkout")


@pytest.fixture(scope="module")
def signed(repository: Path, key: Path) -> Path:
    """A signed release. Do not change it."""
    done = make(repository, f"SIGN_KEY={key}")
    assert done.returncode == 0, done.stderr
    assert "not signed" not in done.stdout
    return repository / "dist" / DIRECTORY


def check(directory: Path, key: Path) -> list[int]:
    """The exit statuses of the guide's commands for who checks a release, run as they stand there."""
    (block,) = [block for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) if "-Y verify" in block]
    first, *rest = block.splitlines()
    shutil.copy(f"{key}.pub", directory / "release.pub")
    subprocess.run(["sh", "-c", first], cwd=directory, check=True)
    return [
        subprocess.run(["sh", "-c", line], cwd=directory, capture_output=True, check=False).returncode for line in rest
    ]


def test_a_release_holds_what_the_guide_says_and_leaves_nothing_else(signed: Path) -> None:
    locks = {f"requirements-{name}.txt" for name in ("server", "site", "torch-cpu", "torch-cuda")}
    built = {f"{DIRECTORY}-py3-none-any.whl", f"{DIRECTORY}.tar.gz"}
    described = {"sealora-server.cdx.json", "sealora-site.cdx.json", "verify_dossier.py"}
    assert {path.name for path in signed.iterdir()} == locks | built | described | {"SHA256SUMS", "SHA256SUMS.sig"}
    assert [path.name for path in signed.parent.iterdir()] == [DIRECTORY]
    for name in locks:
        assert (signed / name).read_bytes() == (LOCKS / name.removeprefix("requirements-")).read_bytes()
    summed = {line.split("  ")[1] for line in (signed / "SHA256SUMS").read_text().splitlines()}
    assert summed == locks | built | described


def test_the_guide_s_commands_accept_a_release_and_refuse_one_that_was_changed(
    signed: Path, key: Path, tmp_path: Path
) -> None:
    whole = shutil.copytree(signed, tmp_path / "whole")
    assert check(whole, key) == [0, 0]
    for path in sorted(signed.iterdir()):
        if path.name.startswith("SHA256SUMS"):
            continue
        changed = shutil.copytree(signed, tmp_path / path.name)
        (changed / path.name).write_bytes(path.read_bytes() + b"\n")
        assert check(changed, key) == [0, 1], path.name
    # Who changes a file and its sum has no signature over the sums; a key of one's own is not the publisher's.
    resummed = shutil.copytree(signed, tmp_path / "resummed")
    lock = resummed / "requirements-server.txt"
    before = hashlib.sha256(lock.read_bytes()).hexdigest()
    lock.write_bytes(lock.read_bytes() + b"\n")
    sums = (resummed / "SHA256SUMS").read_text().replace(before, hashlib.sha256(lock.read_bytes()).hexdigest())
    (resummed / "SHA256SUMS").write_text(sums)
    assert check(resummed, key) == [255, 0]
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    assert check(shutil.copytree(signed, tmp_path / "another"), other) == [255, 0]


@pytest.mark.parametrize(("installation", "locks"), [("server", ["server"]), ("site", ["site", "torch-cuda"])])
def test_an_sbom_is_valid_and_lists_every_distribution_of_the_lock(
    signed: Path, installation: str, locks: list[str]
) -> None:
    text = (signed / f"sealora-{installation}.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    described = json.loads(text)
    assert described["metadata"]["component"]["name"] == "sealora"
    assert described["metadata"]["component"]["version"] == VERSION
    found = {canonicalize_name(part["name"]): part["version"] for part in described["components"]}
    expected = {name: str(version(pin)) for lock in locks for name, pin in locked(LOCKS / f"{lock}.txt").items()}
    assert found == expected
    hashes = {each["content"] for part in described["components"] for each in part["externalReferences"][0]["hashes"]}
    assert hashes == {
        each for lock in locks for each in re.findall(r"sha256:(\w+)", (LOCKS / f"{lock}.txt").read_text())
    }


def test_the_wheel_holds_the_packages_and_nothing_else(signed: Path) -> None:
    with zipfile.ZipFile(signed / f"{DIRECTORY}-py3-none-any.whl") as wheel:
        names = wheel.namelist()
        metadata = wheel.read(f"{DIRECTORY}.dist-info/METADATA").decode()
    packages = {
        "sealora": "server", "sealora_common": "common", "sealora_server": "server", "sealora_client": "client"
    }  # fmt: skip
    assert {name.split("/")[0] for name in names} == {*packages, f"{DIRECTORY}.dist-info"}
    for package, side in packages.items():
        tracked = git(PROJECT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", f"{side}/{package}")
        expected = {name.partition("/")[2] for name in tracked.split("\0") if name and (PROJECT / name).exists()}
        assert {name for name in names if name.startswith(f"{package}/")} == expected
    assert f"\nVersion: {VERSION}\n" in metadata


def test_the_same_commit_gives_the_same_bytes_wherever_and_whenever_it_is_built(
    signed: Path, repository: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "elsewhere" / "clone"
    subprocess.run(["git", "clone", "--quiet", repository, clone], check=True)
    (clone / "server" / "sealora_server" / "left_behind.py").write_text("x = 1\n")
    (clone / "README.md").write_text("changed\n")
    done = make(clone, umask=0o077, TZ="Asia/Tokyo", SOURCE_DATE_EPOCH="1", PYTHONHASHSEED="7", LC_ALL="C")
    assert done.returncode == 0, done.stderr
    assert "what was changed since is not in it" in done.stdout
    assert "SHA256SUMS is not signed" in done.stdout
    first = contents(signed)
    first.pop("SHA256SUMS.sig")
    assert contents(clone / "dist" / DIRECTORY) == first


def test_what_is_there_is_signed_if_it_is_the_same_and_never_replaced_by_another(
    repository: Path, signed: Path, key: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    unsigned = shutil.copytree(signed, out / DIRECTORY)
    (unsigned / "SHA256SUMS.sig").unlink()
    done = make(repository, f"DIST={out}", f"SIGN_KEY={key}")
    assert done.returncode == 0, done.stderr
    assert check(unsigned, key) == [0, 0]

    (unsigned / "SHA256SUMS").write_text("another\n")
    before = contents(unsigned)
    done = make(repository, f"DIST={out}", f"SIGN_KEY={key}")
    assert done.returncode == 2  # make's, for the command's 1
    assert f"{unsigned} holds another release {VERSION}" in done.stderr
    assert contents(unsigned) == before
    assert [path.name for path in out.iterdir()] == [DIRECTORY]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("/nowhere/key", "/nowhere/key: no such file"),
        ("{checkout}/key", "a signing key does not belong in the checkout"),
        pytest.param("{elsewhere}", "ssh-keygen -q -Y sign failed:", marks=pytest.mark.slow),
    ],
)
def test_a_key_that_is_of_no_use_gives_one_sentence_and_no_release(
    repository: Path, key: Path, tmp_path: Path, named: str, said: str
) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", repository, clone], check=True)
    shutil.copy(key, clone / "key")
    (tmp_path / "no-key").write_text("not a key\n")
    done = make(clone, "SIGN_KEY=" + named.format(checkout=clone, elsewhere=tmp_path / "no-key"))
    assert done.returncode == 2
    error, *make_s = done.stderr.strip().splitlines()
    assert error.startswith("Error: ")
    assert said in error
    assert len(make_s) == 1
    assert not list(clone.glob("dist/*"))
