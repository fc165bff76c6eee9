"""What a dossier says of a finished run, and what it keeps to the sites' parts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from sealora_client.dossier.part import HandedIn, write_part
from sealora_common.canonical import digest
from sealora_common.config import LARGE, from_json
from sealora_common.dossier.directory import VERIFIER, read_signed
from sealora_common.dossier.server_part import Dossier
from sealora_common.errors import PolicyError, StorageError
from sealora_common.identity import Identity
from sealora_common.show.pdf import BROWSERS
from sealora_server.cli import cli
from sealora_server.dossier.write import write_dossier

from dossier_runs import check, figures, files_of, fingerprint_of, signed_again
from tiny_federation import history_of, typed

SITES = ("site-0", "site-1", "site-2")


@pytest.fixture(scope="session")
def told(written) -> Dossier:
    return from_json(Dossier, (written / "dossier.json").read_bytes(), LARGE)


def run_id(run: Path) -> str:
    found: str = json.loads((run / "run.json").read_bytes())["run_id"]
    return found


def test_it_never_says_that_a_model_is_cleared(told, written):
    first = told.clearance.first_line
    assert first == "NOT YET CLEARED: nothing found speaks against this model, and 4 points are open."
    assert json.loads((written / "dossier.json").read_bytes())["clearance"]["first_line"] == first
    page = (written / "dossier.html").read_text()
    shown = re.sub(r"<[^>]+>", " ", page.partition("<main>")[2]).split()
    assert " ".join(shown).startswith(first)
    card = (written / "model-card" / "README.md").read_text()
    assert card.partition("---\n\n")[2].startswith(f"**{first}**")


def test_every_figure_has_a_file_its_hash_and_a_field(written, private_run):
    found = list(figures(json.loads((written / "dossier.json").read_bytes())))
    assert len(found) > 40
    for figure in found:
        source = figure["source"]
        inside = written / source["file"]
        path = inside if inside.exists() else private_run / "adapter" / "adapter_model.safetensors"
        assert digest(path.read_bytes()) == source["sha256"], figure
        assert source["field"], figure
    read = [each for each in found if re.match(r"(\d+:)?/", each["source"]["field"])]
    assert len(read) > 30, "most are fields of files and not worked out"


def test_no_sentence_of_a_section_holds_a_figure(told):
    for section in told.sections:
        for sentence in section.text:
            assert not re.search(r"\d", sentence.replace("apache-2.0", "")), sentence


def test_it_says_what_ran_and_what_was_promised(told):
    by_name = {figure.name: figure.value for section in told.sections for figure in section.figures}
    assert by_name["mechanism"] == "local"
    assert by_name["epsilon, of the whole run, for each site's data"] == 8.0
    assert by_name["delta"] == 1e-3
    assert by_name["rounds proven"] == by_name["rounds finished"] == 2
    assert by_name["sites in the sum of round 2"] == SITES
    assert (
        by_name["SHA-256 of the adapter's weights, as the run ended"] == by_name["SHA-256 of the file with the weights"]
    )
    text = " ".join(sentence for section in told.sections for sentence in section.text)
    assert "Unit: one record" in text
    assert "Adversary: everyone" in text
    for nothing in ("Audit: there is none", "Memorisation: nobody has tried", "Subgroups: nothing was measured"):
        assert nothing in text


def test_the_server_s_part_holds_nothing_of_what_the_sites_measured(written, private_run):
    own = [path for path in files_of(written) if "sites" not in path.relative_to(written).parts]
    whole = b"\n".join(path.read_bytes() for path in own if path.name != VERIFIER)
    exact = set()
    for site in SITES:
        for line in history_of(private_run, site):
            exact |= {
                repr(value) for value in line.values() if isinstance(value, float) and value not in (1e-3, 1.0, 0.0)
            }
        part = json.loads((written / "sites" / site / "part.json").read_bytes())
        exact |= {repr(each["value"]) for each in figures(part) if isinstance(each["value"], float)} - {"8.0", "0.001"}
        ledger = json.loads((written / "sites" / site / "evidence" / "ledger.json").read_bytes())
        exact |= {row["fingerprint"] for row in ledger["datasets"]} | {ledger["last_hash"]}
    assert len(exact) > 20
    assert [value for value in exact if value.encode() in whole] == []
    assert not {path.name for path in own} & {"summary.json", "history.jsonl", "completions.json", "ledger.json"}


def test_a_site_s_part_has_its_own_exact_figures(written, private_run):
    for site in SITES:
        part = json.loads((written / "sites" / site / "part.json").read_bytes())
        values = {each["name"]: each["value"] for each in figures(part)}
        lines = history_of(private_run, site)
        assert values["training records"] == lines[-1]["records"] == 24 + int(site[-1])
        assert values["held-out loss, last evaluation"] == lines[-1]["heldout_loss"]
        assert values["epsilon of this run, a training record"] == pytest.approx(lines[-2]["epsilon"], rel=1e-6)
        assert 8 < values["epsilon of this run for a record that two sites hold"] < 16
        assert "exact" in (written / "sites" / site / "part.html").read_text()
        assert not (written / "sites" / site / "evidence" / "data.jsonl").exists()


def test_the_ledger_s_key_to_who_is_in_the_data_stays_at_the_site(written, private_run):
    import sqlite3

    for site in SITES:
        rows = sqlite3.connect(private_run / "sites" / site / "ledger.sqlite").iterdump()
        keys = re.findall(r'"member_key": ?"([0-9a-f]{64})"', "\n".join(rows).replace("'", '"').replace('""', '"'))
        keys += re.findall(r'member_key":"([0-9a-f]{64})', "\n".join(rows))
        whole = b"".join(path.read_bytes() for path in files_of(written))
        assert b"member_key" not in whole
        assert not any(key.encode() in whole for key in keys)


def test_the_hash_of_a_part_tells_nobody_its_figures(written, private_run, tmp_path):
    write_part(private_run / "sites" / "site-0", run_id(private_run), tmp_path / "again", HandedIn())
    one, other = (
        json.loads((at / "part.json").read_bytes()) for at in (written / "sites" / "site-0", tmp_path / "again")
    )
    assert one.pop("salt") != other.pop("salt")
    assert one.pop("created") <= other.pop("created")
    assert one == other


def test_what_was_installed_is_a_sound_sbom(written):
    text = (written / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    names = {component["name"] for component in json.loads(text)["components"]}
    assert (
        JsonStrictValidator(SchemaVersion.V1_6).validate_str((written / "sites/site-0/sbom.cdx.json").read_text())
        is None
    )
    assert {"cryptography", "pydantic", "flwr"} <= names


def test_the_card_is_one_that_the_hub_reads(written):
    from huggingface_hub import ModelCard

    card = ModelCard.load(written / "model-card" / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "peft"
    assert "differential-privacy" in card.data.tags
    assert "## The privacy promise" in card.content


def test_every_demand_is_answered_and_nothing_claims_too_much(told):
    titles = [framework.title for framework in told.frameworks]
    assert [
        any(word in title for title in titles) for word in ("800-226", "28/2024", "Annex IV", "35 GDPR", "SATRE")
    ] == [True] * 5
    known = {section.identifier for section in told.sections} | {"parts", "sbom"}
    for framework in told.frameworks:
        statuses = [answer.status for answer in framework.answers]
        assert "not met" in statuses, framework.title
        for answer in framework.answers:
            assert set(answer.where) <= known
            assert answer.remark or answer.status == "met", answer
    by_demand = {answer.demand: answer for framework in told.frameworks for answer in framework.answers}
    assert by_demand["Tests of membership inference."].status == "not met"
    assert by_demand["Tests of membership inference."].remark == "Not every site's part holds an audit."


def test_the_command_writes_one_and_says_what_is_open(private_run, tmp_path):
    out = tmp_path / "dossier"
    said = typed(cli, "dossier", private_run, "--out", out)
    assert said.splitlines()[0].startswith("NOT YET CLEARED")
    assert "- The licence of the base model is not stated." in said
    assert check(out, fingerprint_of(out))[0] == 0
    assert not [path for path in tmp_path.iterdir() if path != out], "nothing is left beside it"
    with pytest.raises(StorageError, match="a dossier replaces nothing"):
        typed(cli, "dossier", private_run, "--out", out)


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no chromium: apt-get install chromium")
def test_the_pages_are_there_as_pdf_and_signed_like_the_rest(private_run, tmp_path):
    out = tmp_path / "dossier"
    typed(cli, "dossier", private_run, "--out", out, "--pdf")
    assert (out / "dossier.pdf").read_bytes().startswith(b"%PDF-")
    assert check(out, fingerprint_of(out))[0] == 0
    (out / "dossier.pdf").write_bytes(b"%PDF-another")
    assert check(out, fingerprint_of(out))[0] == 1
    write_part(private_run / "sites/site-0", run_id(private_run), tmp_path / "part", HandedIn(), pdf=True)
    assert "part.pdf" in {each.path for each in read_signed(tmp_path / "part")[0].files}


def test_what_is_no_run_is_a_sentence(tmp_path, private_run):
    with pytest.raises(StorageError, match="no run is there"):
        write_dossier(tmp_path, tmp_path / "out")
    with pytest.raises(PolicyError, match="no SPDX identifier"):
        write_dossier(private_run, tmp_path / "out", licence="<b>mine")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def deployed(private_run, tmp_path) -> Path:
    """The same run as a server has it: without the sites' directories."""
    return Path(shutil.copytree(private_run, tmp_path / "deployed", ignore=shutil.ignore_patterns("sites")))


def test_a_deployed_server_has_no_part_but_those_that_sites_hand_in(deployed, private_run, tmp_path):
    alone, _ = write_dossier(deployed, tmp_path / "alone")
    assert [part.attached for part in alone.parts] == [False] * 3
    assert "The part of site-0 is not here: that site has signed nothing." in alone.clearance.open_points
    for site in SITES[:2]:
        write_part(private_run / "sites" / site, run_id(private_run)[:8], tmp_path / site, HandedIn())
    some, manifest = write_dossier(deployed, tmp_path / "some", parts=[tmp_path / "site-0", tmp_path / "site-1"])
    assert [part.attached for part in some.parts] == [True, True, False]
    assert [part.site for part in manifest.parts] == ["site-0", "site-1"]
    assert check(tmp_path / "some", fingerprint_of(tmp_path / "some"))[0] == 0


@pytest.fixture
def part(private_run, tmp_path) -> Path:
    write_part(private_run / "sites" / "site-0", run_id(private_run), tmp_path / "part", HandedIn())
    return tmp_path / "part"


def refused(deployed: Path, *parts: Path) -> str:
    with pytest.raises((PolicyError, StorageError)) as caught:
        write_dossier(deployed, deployed.parent / "out", parts=parts)
    assert not (deployed.parent / "out").exists()
    return str(caught.value)


def test_a_part_that_was_changed_is_refused(deployed, part):
    (part / "part.html").write_text("another")
    assert "part.html: was changed after it was signed" in refused(deployed, part)


def test_a_part_with_a_file_more_or_less_is_refused(deployed, part):
    (part / "more").write_text("")
    assert "more: is in no manifest" in refused(deployed, part)
    (part / "more").unlink()
    (part / "part.html").unlink()
    assert "part.html: is missing" in refused(deployed, part)


def test_a_part_of_another_run_or_key_is_refused(deployed, part, private_run, server):
    site = Identity.load("site-0", private_run / "sites" / "site-0" / "identity.pem")
    signed_again(part, site, run="0" * 32)
    assert "is of run 000000000000" in refused(deployed, part)
    signed_again(part, site, run=run_id(private_run))
    assert write_dossier(deployed, deployed.parent / "good", parts=[part])[0].parts[0].attached
    signed_again(part, server)
    assert "that the run's roster does not have for 'site-0'" in refused(deployed, part)


def test_a_part_that_is_another_site_s_inside_is_refused(deployed, part, private_run):
    site = Identity.load("site-0", private_run / "sites" / "site-0" / "identity.pem")
    inside = part / "part.json"
    inside.write_text(inside.read_text().replace('"site": "site-0"', '"site": "site-1"'))
    signed_again(part, site)
    assert "is of another site or run than its manifest" in refused(deployed, part)


def test_a_part_that_says_first_what_does_not_follow_is_refused(deployed, part, private_run):
    site = Identity.load("site-0", private_run / "sites" / "site-0" / "identity.pem")
    inside = part / "part.json"
    inside.write_text(inside.read_text().replace("NOT YET CLEARED", "CLEARED"))
    signed_again(part, site)
    assert "first line does not follow" in refused(deployed, part)


def test_two_parts_of_one_site_and_a_server_s_are_refused(deployed, part, written):
    assert "second part of 'site-0'" in refused(deployed, part, part)
    assert refused(deployed, written)


def test_a_link_in_a_part_is_refused(deployed, part):
    copy = part.parent / "copy.json"
    (part / "part.json").rename(copy)
    (part / "part.json").symlink_to(copy)
    assert "is a symbolic link" in refused(deployed, part)


def test_what_is_written_is_read_back(written):
    manifest, files = read_signed(written / "sites" / "site-1")
    assert (manifest.kind, manifest.name) == ("site", "site-1")
    assert set(files) == {
        path.relative_to(written / "sites" / "site-1").as_posix() for path in files_of(written / "sites" / "site-1")
    }


def test_front_matter_is_not_broken_by_a_name(written):
    front = (written / "model-card" / "README.md").read_text().split("---\n")[1]
    assert set(yaml.safe_load(front)) == {"library_name", "pipeline_tag", "tags", "license"}
