"""Clearances, figures, manifests and signed directories, without any run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from sealora_common.config import from_json
from sealora_common.dossier.clearance import Clearance
from sealora_common.dossier.directory import read_signed, write_signed
from sealora_common.dossier.evidence import Evidence, EvidenceFile
from sealora_common.dossier.figure import MOMENT, Figure, Source
from sealora_common.dossier.manifest import MANIFEST, SIGNATURE, DossierManifest, ManifestFile, ManifestPart
from sealora_common.dossier.writing import figure_text
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import PolicyError, StorageError, UnreadableError
from sealora_common.identity import Identity

SITE = Identity.create("site-0", SeededEntropy("dossier"))
WHOSE = {"kind": "site", "name": "site-0", "run": "0" * 32, "recipe_hash": "a" * 64}


def test_the_first_line_follows_from_the_rest():
    assert Clearance.of(["It leaks."], ["A point."]).first_line == "NOT CLEARED: this model must not leave. It leaks."
    assert Clearance.of([], ["A point."]).first_line.endswith("and one point is open.")
    assert Clearance.of([], []).first_line.startswith("NOT YET CLEARED")
    assert [Clearance.of(*each).standing for each in ((["x"], []), ([], ["x"]), ([], []))] == [
        "not cleared",
        "open",
        "nothing against",
    ]
    said = json.loads(Clearance.of(["It leaks."], []).model_dump_json())
    said["first_line"] = "CLEARED."
    with pytest.raises(UnreadableError, match="does not follow"):
        from_json(Clearance, json.dumps(said))


def test_a_figure_is_read_from_its_field():
    file = EvidenceFile("evidence/a.json", b'{"a/b": [{"c": 1.5}], "t": true, "n": null, "l": ["x", "y"]}')
    figure = file.field("c", "/a~1b/0/c", unit="nats", noise="none")
    assert (figure.value, figure.source.field, figure.source.sha256) == (1.5, "/a~1b/0/c", file.sha256)
    assert file.field("t", "/t").value is True
    assert file.field("l", "/l").value == ("x", "y")
    assert [file.has(at) for at in ("/t", "/n", "/none", "/l/7", "/l/x")] == [True, False, False, False, False]
    for at in ("/none", "/l/2", "/l/-1", "/a~1b/0", ""):
        with pytest.raises(StorageError):
            file.field("none", at)


def test_a_figure_of_a_line_and_of_a_setting():
    lines = EvidenceFile("evidence/a.jsonl", b'{"a": 1}\nnonsense\n{"a": NaN}\n{"a": 4}')
    assert lines.line("a", 4, "/a").source.field == "4:/a"
    assert (lines.line("a", 4, "/a").value, lines.line("a", 3, "/a").value) == (4, None)
    with pytest.raises(StorageError):
        lines.line("a", 2, "/a")
    settings = EvidenceFile("evidence/a.yaml", b"a: {b: 0.25}")
    assert settings.setting("b", "a.b").value == 0.25
    with pytest.raises(StorageError, match="cannot be read"):
        EvidenceFile("evidence/a.yaml", b"a: [").setting("b", "a.b")
    with pytest.raises(StorageError, match="cannot be read"):
        EvidenceFile("evidence/a.json", b"{").field("b", "/b")


def test_evidence_copies_what_is_there(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    evidence = Evidence(tmp_path)
    assert evidence.copy("none.json") is None
    assert evidence.copy("a.json", as_name="b.json") is not None
    assert evidence.files == {"evidence/b.json": b"{}"}
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="cannot be read"):
        evidence.copy("folder")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.1, "", "0.1"),
        (3, "sites", "3 sites"),
        (True, "", "yes"),
        (None, "sites", "none told"),
        (("a", "b"), "", "a, b"),
        ((), "", "none"),
        ("a\u202eb\nc", "", "a b c"),
        (0.0, MOMENT, "1970-01-01 00:00:00 UTC"),
    ],
)
def test_a_figure_in_words(value, unit, text):
    source = Source(file="evidence/a", sha256="0" * 64, field="/a")
    assert figure_text(Figure(name="a", value=value, unit=unit, source=source)) == text


def test_a_figure_without_a_source_cannot_be_made():
    with pytest.raises(ValidationError):
        Figure(name="a", value=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Source(file="a", sha256="no hash", field="/a")


@pytest.mark.parametrize(
    "path", ["", "/a", "../a", "a/../b", "a//b", ".a", "a/.b", "a\\b", "a/", "a\nb", "ä", "a" * 301]
)
def test_a_path_that_leads_out_is_none(path):
    with pytest.raises(ValidationError):
        ManifestFile(path=path, sha256="0" * 64, size=0)


@pytest.mark.parametrize("site", ["../a", "A", "", "a/b", "."])
def test_a_site_that_leads_out_is_none(site):
    with pytest.raises(ValidationError):
        ManifestPart(site=site, manifest_sha256="0" * 64)


def files(*paths: str) -> tuple[ManifestFile, ...]:
    return tuple(ManifestFile(path=path, sha256="0" * 64, size=0) for path in paths)


@pytest.mark.parametrize("named", [("b", "a"), ("a", "a"), (MANIFEST,), (SIGNATURE,)])
def test_a_manifest_names_each_file_once_in_order_and_not_itself(named):
    fields = {**WHOSE, "created": "", "release": "", "public_key": SITE.public_key_text}
    with pytest.raises(ValidationError):
        DossierManifest(**fields, files=files(*named))
    with pytest.raises(ValidationError):
        DossierManifest(**{**fields, "kind": "server"}, files=files("sites/site-0/part.json"))


def written(out: Path) -> Path:
    write_signed(out, {"part.json": b"{}", "evidence/a.json": b"[]"}, SITE, **WHOSE)
    return out


def test_a_signed_directory_is_read_back_and_private(tmp_path):
    manifest, content = read_signed(written(tmp_path / "part"))
    assert manifest.fingerprint == SITE.fingerprint
    assert set(content) == {"part.json", "evidence/a.json", "verify_dossier.py", MANIFEST, SIGNATURE}
    assert content["evidence/a.json"] == b"[]"
    assert all(path.stat().st_mode & 0o077 == 0 for path in [tmp_path / "part", *(tmp_path / "part").rglob("*")])
    assert [path.name for path in tmp_path.iterdir()] == ["part"]


def test_nothing_is_left_of_a_directory_that_could_not_be_written(tmp_path):
    with pytest.raises(StorageError):
        write_signed(tmp_path / "part", {"a/b": b"", "a": b""}, SITE, **WHOSE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [0, 40, -3, -1])
def test_a_signature_that_was_changed_is_refused(tmp_path, place):
    part = written(tmp_path / "part")
    signature = bytearray((part / SIGNATURE).read_bytes())
    signature[place] ^= 1
    (part / SIGNATURE).write_bytes(signature)
    with pytest.raises(PolicyError, match="signature"):
        read_signed(part)


@pytest.mark.parametrize("name", ["part.json", "evidence/a.json", MANIFEST])
def test_a_file_that_was_changed_is_refused(tmp_path, name):
    part = written(tmp_path / "part")
    (part / name).write_bytes((part / name).read_bytes() + b" ")
    with pytest.raises(PolicyError):
        read_signed(part)


def test_what_is_no_part_is_a_sentence(tmp_path):
    with pytest.raises(StorageError, match="cannot be read"):
        read_signed(tmp_path)
    part = written(tmp_path / "part")
    (part / "folder").symlink_to(tmp_path)
    with pytest.raises(PolicyError, match="folder: is in no manifest"):
        read_signed(part)
