"""Archives that come back as they went in, and every way to give somebody one that is none."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealora_common.archive import locked as locked_module
from sealora_common.archive.locked import ArchiveKey
from sealora_common.archive.manifest import MANIFEST, ArchivedFile, SignedManifest, is_safe_path
from sealora_common.archive.passphrase import archive_passphrase
from sealora_common.archive.read import opened_archive
from sealora_common.archive.write import new_archive
from sealora_common.canonical import canonical_json
from sealora_common.config import LARGE, from_json
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import StorageError
from sealora_common.identity import Identity, signature_to_text

MAKER = Identity.create("server", SeededEntropy("maker"))
PASSPHRASE = b"correct horse"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(locked_module, "_COST", 2**4)


def make(
    file: Path, files: dict[str, bytes], *, passphrase: bytes | None = PASSPHRASE, kind="run", locked=(), more=()
) -> Path:
    with new_archive(file, kind=kind, name="r1", identity=MAKER, passphrase=PASSPHRASE) as writer:
        for path, content in files.items():
            if path in locked:
                writer.add(path, content, locked=True)
            else:
                writer.add_file(path, io.BytesIO(content), len(content), public=path.endswith(".pub"))
        if more:
            writer.add_file(*more)
    return file


FILES = {"a.json": b"{}", "rounds/0001/adapter/w.bin": os.urandom(3 * 2**20 + 7), "empty": b"", "k.pub": b"x" * 512}


def test_what_went_in_comes_out_with_the_modes_that_it_is_to_have(tmp_path):
    file = make(tmp_path / "a.tar", {**FILES, "id.pem": b"secret"}, locked=["id.pem"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with opened_archive(file, "run") as archive:
        archive.verify()
        assert archive.manifest.fingerprint == MAKER.fingerprint
        archive.extract(tmp_path / "out", lambda: PASSPHRASE)
    for path, content in {**FILES, "id.pem": b"secret"}.items():
        put = tmp_path / "out" / path
        assert put.read_bytes() == content
        assert stat.S_IMODE(put.stat().st_mode) == (0o644 if path.endswith(".pub") else 0o600)
        assert stat.S_IMODE(put.parent.stat().st_mode) == 0o700
    assert b"secret" not in file.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "out"]
    with tarfile.open(file) as tar:  # anybody's tar lists it
        assert tar.getnames() == [*FILES, "id.pem", MANIFEST]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_an_archive_that_was_cut_or_changed_anywhere_is_refused_and_leaves_nothing(tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("changed")
    content = bytearray(make(directory / "a.tar", {"a": b"abc" * 300, "b/c": b"x" * 2000}).read_bytes())
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(content) - 1))
        content = content[:place]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    (directory / "a.tar").write_bytes(content)
    said = ""
    try:
        with opened_archive(directory / "a.tar") as archive:
            archive.extract(directory / "out")
    except StorageError as error:
        said = str(error)
    assert "\n" not in said
    if said:
        assert not (directory / "out").exists()
    else:  # padding, and what of a header says nothing: times, owners, the two empty blocks at the end
        assert (directory / "out" / "a").read_bytes() == b"abc" * 300
        assert (directory / "out" / "b" / "c").read_bytes() == b"x" * 2000
    assert not (directory / ".out.restoring").exists()


def crafted(file: Path, members: list[tarfile.TarInfo], signature: bytes | None = None) -> Path:
    """An archive that somebody made by hand, whose manifest tells of just these members, of zeros, and is signed."""
    with opened_archive(make(file.with_name("base.tar"), {})) as archive:
        files = tuple(
            ArchivedFile.model_construct(
                path=each.name, length=each.size, sha256=hashlib.sha256(bytes(each.size)).hexdigest()
            )
            for each in members
        )
        manifest = archive.manifest.model_copy(update={"files": files})
    signed = signature_to_text(MAKER.sign(manifest.signed_bytes) if signature is None else signature)
    made = canonical_json({"manifest": manifest.model_dump(mode="json"), "signature": signed})
    with file.open("wb") as out:
        for each in members:
            out.write(each.tobuf(tarfile.GNU_FORMAT) + bytes(each.size + -each.size % 512))
        last = tarfile.TarInfo(MANIFEST)
        last.size = len(made)
        out.write(last.tobuf(tarfile.USTAR_FORMAT) + made + bytes(-len(made) % 512 + 1024))
    return file


def test_one_that_was_crafted_of_plain_files_is_taken_so_that_what_follows_is_refused_for_its_own_sake(tmp_path):
    with opened_archive(crafted(tmp_path / "a.tar", [member("a", size=700)])) as archive:
        archive.extract(tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == bytes(700)


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


HOSTILE = {
    "a parent": member("../outside"),
    "a parent within": member("a/../../outside"),
    "an absolute path": member("/tmp/outside"),
    "a symbolic link": member("a", tarfile.SYMTYPE, link="/etc"),
    "a hard link": member("a", tarfile.LNKTYPE, link="/etc/passwd"),
    "a device": member("a", tarfile.CHRTYPE),
    "a pipe": member("a", tarfile.FIFOTYPE),
    "a directory": member("a", tarfile.DIRTYPE),
    "a sparse file": member("a", tarfile.GNUTYPE_SPARSE),
    "an extended header": member("a", tarfile.XHDTYPE, 512),
    "a long name": member("n" * 300),
    "a name with an escape sequence": member("a\x1b[2J"),
    "nothing for a name": member(""),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_plain_file_below_the_directory_is_refused_before_anything_is_made(tmp_path, what):
    file = crafted(tmp_path / "a.tar", [HOSTILE[what]])
    with (
        pytest.raises(StorageError, match=r"no plain file below it|no archive of Sealora's"),
        opened_archive(file) as archive,
    ):
        archive.extract(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path.parent / "outside").exists()


def test_a_file_that_says_that_it_is_larger_than_the_archive_takes_no_memory(tmp_path):
    file = tmp_path / "a.tar"
    file.write_bytes(member("a", size=2**60).tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(StorageError, match="it has no end"), opened_archive(file):
        pass


def test_a_manifest_that_somebody_else_signed_or_nobody_is_refused(tmp_path):
    file = crafted(tmp_path / "a.tar", [member("a")], MAKER.sign(b"another"))
    with pytest.raises(StorageError, match="its signature does not hold"), opened_archive(file):
        pass


def test_a_file_twice_or_one_that_the_manifest_does_not_tell_of_is_refused(tmp_path):
    file = make(tmp_path / "a.tar", {"a": b"1", "b": b"2"})
    content = file.read_bytes()
    for changed in (content[:1024] + content, content[1024:]):  # a's header and block again; and without them
        file.write_bytes(changed)
        with pytest.raises(StorageError, match="its files are not those that its"), opened_archive(file):
            pass


@pytest.mark.parametrize(("wrong", "said"), [(b"another", "passphrase is wrong"), (PASSPHRASE, None)])
def test_a_locked_file_comes_out_by_its_passphrase_alone(tmp_path, wrong, said):
    file = make(tmp_path / "a.tar", {"id.pem": b"secret"}, locked=["id.pem"])
    with opened_archive(file) as archive:
        if said is None:
            assert archive.read("id.pem", lambda: wrong) == b"secret"
            return
        with pytest.raises(StorageError, match=said):
            archive.extract(tmp_path / "out", lambda: wrong)
        with pytest.raises(StorageError, match="it is locked by a passphrase"):
            archive.extract(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_locked_file_cannot_take_the_place_of_another():
    key = ArchiveKey(PASSPHRASE, b"s" * 16)
    stored = key.lock("identity.pem", b"one")
    assert key.unlock("identity.pem", stored) == b"one"
    for path, content in (("node.key", stored), ("identity.pem", stored[:20]), ("identity.pem", stored[:-1] + b"\0")):
        with pytest.raises(StorageError, match="cannot be unlocked"):
            key.unlock(path, content)
    assert key.lock("identity.pem", b"one") != stored  # a nonce of its own each time


def test_nothing_is_replaced_neither_by_an_archive_nor_by_what_comes_out_of_one(tmp_path):
    file = make(tmp_path / "a.tar", {"a": b"1"})
    with pytest.raises(StorageError, match=r"a\.tar exists and is not replaced"):
        make(file, {"a": b"2"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").write_text("kept")
    for there in ("out", "link", "file"):
        with opened_archive(file) as archive, pytest.raises(StorageError, match="nothing is replaced"):
            archive.extract(tmp_path / there)
    assert (tmp_path / "out" / "mine").read_text() == "kept"
    (tmp_path / "empty").mkdir()
    with opened_archive(file) as archive:
        archive.extract(tmp_path / "empty")
    assert (tmp_path / "empty" / "a").read_bytes() == b"1"


def test_a_kill_while_one_is_made_or_put_back_leaves_nothing_that_looks_whole_and_the_next_attempt_succeeds(tmp_path):
    file = tmp_path / "a.tar"
    (tmp_path / ".a.tar.unfinished").write_bytes(b"half")  # what a kill leaves
    make(file, {"a": b"1"})
    assert not (tmp_path / ".a.tar.unfinished").exists()
    (tmp_path / ".out.restoring" / "a").mkdir(parents=True)
    with opened_archive(file) as archive:
        archive.extract(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "out"]


def test_an_error_in_the_middle_leaves_nothing_and_says_so_in_a_sentence(tmp_path):
    full = mock.Mock(read=mock.Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match=r"a.tar: the disk is full: free some space"):
        make(tmp_path / "a.tar", {"a": b"1"}, more=("b", full, 1))
    file = make(tmp_path / "b.tar", {"a": b"1"})
    with opened_archive(file) as archive, pytest.raises(StorageError, match=r"out: the disk is full"):
        archive.extract(tmp_path / "out", finish=lambda made: (_ for _ in ()).throw(OSError(28, "full")))
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar"]


def test_a_file_that_shrinks_while_it_is_read_or_has_no_name_for_an_archive_is_said(tmp_path):
    said = {("a", 5): "became shorter", ("../a", 1): "cannot be put into", ("x" * 240, 1): "too long a name"}
    for (path, length), why in said.items():
        with pytest.raises(StorageError, match=why):
            make(tmp_path / "a.tar", {}, more=(path, io.BytesIO(b"1"), length))
    assert list(tmp_path.iterdir()) == []


def test_an_archive_of_another_kind_or_of_nothing_is_said(tmp_path):
    file = make(tmp_path / "a.tar", {"a": b"1"}, kind="site")
    with pytest.raises(StorageError, match="is the archive of a site, not of a server"), opened_archive(file, "server"):
        pass
    (tmp_path / "empty").write_bytes(b"")
    for name, said in (("empty", "it has no end"), ("missing", "cannot be read")):
        with pytest.raises(StorageError, match=said), opened_archive(tmp_path / name):
            pass


def test_a_manifest_that_lists_paths_out_of_the_directory_is_not_followed(tmp_path):
    base = make(tmp_path / "a.tar", {"a": b"1"})
    with opened_archive(base) as archive:
        signed = SignedManifest(manifest=archive.manifest, signature="")
        assert from_json(SignedManifest, signed.model_dump_json(), LARGE).manifest == archive.manifest
    for path in ("../a", "a/..", "/a", "a//b", "", "a/", ".", "a b", "ä", "a\\b/../c", "a/" * 20 + "a"):
        assert not is_safe_path(path), path
    for path in ("a", "runs/r-1/rounds/0001/adapter/adapter_model.safetensors", ".hidden", "a@b+c"):
        assert is_safe_path(path), path


def test_a_passphrase_comes_from_a_file_or_a_terminal(tmp_path):
    (tmp_path / "word").write_bytes(b"secret\n")
    (tmp_path / "empty").write_bytes(b"\n")
    assert archive_passphrase(tmp_path / "word", new=True) == b"secret"
    for file, said in ((tmp_path / "empty", "is empty"), (tmp_path / "none", "cannot be read"), (None, "no terminal")):
        with pytest.raises(StorageError, match=said):
            archive_passphrase(file, new=True)
