"""The script finds every changed byte, and what a lying operator who may sign again can still not hide."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sealora_common.dossier import verify_dossier
from sealora_common.dossier.manifest import MANIFEST, SIGNATURE, ManifestFile
from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity, key_fingerprint, key_from_text
from sealora_common.receipts.receipt import Receipt, chain_from_bytes, chain_to_bytes

from dossier_runs import check, files_of, fingerprint_of, manifest_of, signed_again


@pytest.fixture(scope="session")
def key(written) -> str:
    return fingerprint_of(written)


def wrong(directory: Path, key: str, *words: object) -> str:
    """What the script says is wrong."""
    status, said = check(directory, key, *words)
    assert status == 1
    return said.splitlines()[-1]


def test_a_dossier_as_it_was_signed_passes(dossier, key, private_run):
    adapter = private_run / "adapter" / "adapter_model.safetensors"
    roster = json.loads((private_run / "roster.json").read_bytes())
    coordinator = key_fingerprint(key_from_text(roster["coordinator"]))
    status, said = check(dossier, key, "--adapter", adapter, "--coordinator", coordinator)
    assert status == 0
    assert "2 receipts, each signed by the server" in said
    assert said.count("signed by the site") == 3
    assert "NOT YET CLEARED" in said


def test_it_runs_where_nothing_of_sealora_is(dossier, key, tmp_path):
    script = Path(shutil.copy(dossier / "verify_dossier.py", tmp_path / "trusted.py"))
    block = "import sys, runpy; sys.modules.update(sealora_common=None, pydantic=None, yaml=None); "
    run = f"{block}sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-I", "-c", run, str(script), str(dossier), "--key", key]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(script.read_text().splitlines()) < 250


def test_a_byte_that_is_changed_in_any_file_is_found(dossier, key):
    files = files_of(dossier)
    assert len(files) > 40
    for path in files:
        content = path.read_bytes()
        for place in {0, len(content) // 2, len(content) - 1}:
            changed = bytearray(content)
            changed[place] ^= 1
            path.write_bytes(changed)
            assert wrong(dossier, key).startswith("WRONG"), path
        path.write_bytes(content)
    assert check(dossier, key)[0] == 0


def test_a_file_that_is_taken_away_is_found(dossier, key):
    for path in files_of(dossier):
        content = path.read_bytes()
        path.unlink()
        assert "WRONG" in wrong(dossier, key), path
        path.write_bytes(content)


@pytest.mark.parametrize(
    "place",
    [
        "more.html",
        "evidence/more.json",
        "sites-more/x",
        "evidence/.hidden",
        "sites/more",
        "sites/site-0/more.json",
        "new/more",
        ".x/y",
    ],
)
def test_a_file_that_is_added_is_found(dossier, key, place):
    (dossier / place).parent.mkdir(exist_ok=True)
    (dossier / place).write_text("more")
    assert "WRONG" in wrong(dossier, key)


def test_a_folder_and_a_link_that_are_added_are_found(dossier, key):
    (dossier / "new").mkdir()
    assert "new is in no manifest" in wrong(dossier, key)
    (dossier / "new").rmdir()
    (dossier / "link").symlink_to(dossier / "evidence")
    assert "in no manifest" in wrong(dossier, key)
    (dossier / "link").unlink()
    copy = dossier.with_name("run.json")
    (dossier / "evidence" / "run.json").rename(copy)
    (dossier / "evidence" / "run.json").symlink_to(copy)
    assert "no plain file" in wrong(dossier, key)


def test_a_file_in_the_place_of_the_folder_of_sites_is_found(dossier, key, server):
    shutil.rmtree(dossier / "sites")
    signed_again(dossier, server)
    (dossier / "sites").write_text("more")
    assert "sites is in no manifest" in wrong(dossier, key)


def test_files_that_are_swapped_are_found(dossier, key):
    one, other = dossier / "evidence" / "run.json", dossier / "evidence" / "recipe.json"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    assert "was changed" in wrong(dossier, key)


def test_parts_of_two_sites_that_are_swapped_are_found(dossier, key):
    (dossier / "sites" / "site-0").rename(dossier / "aside")
    (dossier / "sites" / "site-1").rename(dossier / "sites" / "site-0")
    (dossier / "aside").rename(dossier / "sites" / "site-1")
    assert "another part" in wrong(dossier, key)


def test_whoever_signs_with_another_key_is_not_the_server(dossier, key):
    signed_again(dossier, Identity.create("server", SystemEntropy()))
    assert "not by the key that you name" in wrong(dossier, key)


def test_a_figure_that_the_server_itself_edits_is_not_what_its_file_says(dossier, key, server):
    told = dossier / "dossier.json"
    told.write_text(told.read_text().replace('"value": 8.0', '"value": 0.5'))
    signed_again(dossier, server)
    assert "is not what evidence/recipe.json says at /privacy/epsilon" in wrong(dossier, key)


def test_a_figure_that_is_said_to_be_worked_out_is_named_as_not_read_again(dossier, key, server):
    assert "epsilon, of the whole run" not in check(dossier, key)[1]
    told = dossier / "dossier.json"
    text = told.read_text().replace('"field": "/privacy/epsilon"', '"field": "worked out: by us"')
    told.write_text(text.replace('"value": 8.0', '"value": 0.5', 1))
    signed_again(dossier, server)
    status, said = check(dossier, key)
    assert status == 0
    assert "epsilon, of the whole run, for each site's data" in said.splitlines()[0].partition("were not:")[2]


def test_a_recipe_that_the_server_edits_with_the_figure_is_not_what_the_sites_confirmed(dossier, key, server):
    """Epsilon in the recipe's copy, the figure and its source: the hash is in receipts that sites signed."""
    evidence, told = dossier / "evidence" / "recipe.json", dossier / "dossier.json"
    old = verify_dossier._sha256(evidence.read_bytes())
    evidence.write_text(evidence.read_text().replace('"epsilon":8.0', '"epsilon":0.5'))
    new = verify_dossier._sha256(evidence.read_bytes())
    told.write_text(told.read_text().replace('"value": 8.0', '"value": 0.5', 1).replace(old, new))
    signed_again(dossier, server)
    assert "is not the recipe whose hash" in wrong(dossier, key)
    run = dossier / "evidence" / "run.json"
    before = verify_dossier._sha256(run.read_bytes())
    run.write_text(run.read_text().replace(old, new))
    told.write_text(told.read_text().replace(before, verify_dossier._sha256(run.read_bytes())))
    signed_again(dossier, server, recipe_hash=new)
    assert "line 1: does not follow as the next round of this run" in wrong(dossier, key)


def test_a_figure_that_names_a_file_which_is_not_there_is_found(dossier, key, server):
    told = dossier / "dossier.json"
    told.write_text(told.read_text().replace("evidence/run.json", "evidence/none.json"))
    signed_again(dossier, server)
    assert "names a file that is not here" in wrong(dossier, key)


def test_a_manifest_that_leaves_a_file_out_is_found(dossier, key, server):
    signed_again(dossier, server)
    files = [ManifestFile(**each) for each in manifest_of(dossier)["files"] if each["path"] != "sbom.cdx.json"]
    signed_again(dossier, server, files=tuple(files))
    assert "sbom.cdx.json is in no manifest" in wrong(dossier, key)


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname", "evidence/../../outside", ".hidden", "a//b", "a\\b"])
def test_a_manifest_s_path_that_leads_out_is_refused(dossier, key, server, path):
    (dossier.parent / "outside").write_bytes(b"")
    entry = ManifestFile.model_construct(path=path, sha256=verify_dossier._sha256(b""), size=0)
    files = sorted([*(ManifestFile(**each) for each in manifest_of(dossier)["files"]), entry], key=lambda f: f.path)
    signed_again(dossier, server, files=tuple(files))
    assert "leads out" in wrong(dossier, key)


def test_a_site_s_name_that_leads_out_is_refused(dossier, key, server):
    from sealora_common.dossier.manifest import ManifestPart

    part = ManifestPart.model_construct(site="../../outside", manifest_sha256="0" * 64)
    signed_again(dossier, server, parts=(part,))
    shutil.rmtree(dossier / "sites")
    assert "leads out" in wrong(dossier, key)


def test_a_part_that_the_server_writes_in_a_site_s_place_is_found(dossier, key, server):
    signed_again(dossier / "sites" / "site-0", server)
    signed_again(dossier, server)
    assert "does not have for it" in wrong(dossier, key)


def test_a_part_of_another_run_is_found(dossier, key, server, private_run):
    site = Identity.load("site-0", private_run / "sites" / "site-0" / "identity.pem")
    signed_again(dossier / "sites" / "site-0", site, run="0" * 32)
    signed_again(dossier, server)
    assert "another site or run" in wrong(dossier, key)


@pytest.mark.parametrize("change", [{"kind": "server"}, {"version": 2}])
def test_a_part_of_another_kind_or_version_is_found(dossier, key, server, private_run, change):
    site = Identity.load("site-0", private_run / "sites" / "site-0" / "identity.pem")
    signed_again(dossier / "sites" / "site-0", site, **change)
    signed_again(dossier, server)
    assert "site-0 is no site's part" in wrong(dossier, key)


def test_a_part_that_is_missing_is_found_unless_it_was_left_out(dossier, key):
    shutil.rmtree(dossier / "sites" / "site-1")
    assert "site-1/manifest.json is missing" in wrong(dossier, key)
    status, said = check(dossier, key, "--left-out", "site-1")
    assert status == 0
    assert said.count("signed by the site") == 2


def test_a_round_that_is_taken_out_of_the_receipts_is_found(dossier, key, server):
    chain = dossier / "evidence" / "receipts.jsonl"
    old = verify_dossier._sha256(chain.read_bytes())
    chain.write_bytes(chain.read_bytes().split(b"\n", 1)[1])
    told = dossier / "dossier.json"
    text = told.read_text().replace(old, verify_dossier._sha256(chain.read_bytes()))
    changed = json.loads(text)
    for section in changed["sections"]:
        section["figures"] = [each for each in section["figures"] if each["source"]["field"][:2] != "2:"]
    told.write_text(json.dumps(changed))
    signed_again(dossier, server)
    assert "does not follow as the next round" in wrong(dossier, key)


def last_receipt_changed(dossier: Path, server: Identity, change: Callable[[Receipt, Receipt], Receipt]) -> None:
    """Puts what `change` makes of the last receipt, given the first, in its place, and signs the dossier anew."""
    chain, told = dossier / "evidence" / "receipts.jsonl", dossier / "dossier.json"
    first, last = chain_from_bytes(chain.read_bytes())
    old = verify_dossier._sha256(chain.read_bytes())
    chain.write_bytes(chain_to_bytes([first, change(first, last)]))
    told.write_text(told.read_text().replace(old, verify_dossier._sha256(chain.read_bytes())))
    signed_again(dossier, server)


def test_a_confirmation_that_no_site_signed_is_found(dossier, key, server):
    """The server signs the receipt anew, as it can; the sites' signatures it cannot."""

    def forged(first: Receipt, last: Receipt) -> Receipt:
        (opening,) = last.openings
        message = bytearray(opening.confirmations[0])
        message[-1] ^= 1
        opening = opening.model_copy(update={"confirmations": (bytes(message), *opening.confirmations[1:])})
        return last.model_copy(update={"openings": (opening,)}).signed_by(server)

    last_receipt_changed(dossier, server, forged)
    assert "a confirmation does not hold" in wrong(dossier, key)


def test_too_few_confirmations_are_found(dossier, key, server):
    def fewer(first: Receipt, last: Receipt) -> Receipt:
        (opening,) = last.openings
        opening = opening.model_copy(update={"confirmations": opening.confirmations[:1]})
        return last.model_copy(update={"openings": (opening,)}).signed_by(server)

    last_receipt_changed(dossier, server, fewer)
    assert "too few sites confirmed" in wrong(dossier, key)


def test_a_site_that_the_server_leaves_out_of_a_receipt_is_found_by_what_the_sites_confirmed(dossier, key, server):
    """The figures that name who took part are edited with the receipt."""
    chain, told = dossier / "evidence" / "receipts.jsonl", dossier / "dossier.json"
    last_receipt_changed(
        dossier, server, lambda first, last: last.model_copy(update={"survivors": last.survivors[1:]}).signed_by(server)
    )
    shown = json.loads(told.read_text())
    for section in shown["sections"]:
        for figure in section["figures"]:
            if figure["source"]["field"] == "2:/survivors":
                figure["value"] = json.loads(chain.read_bytes().splitlines()[1])["survivors"]
    told.write_text(json.dumps(shown))
    signed_again(dossier, server)
    assert "line 2: names other sites than those that its sites confirmed" in wrong(dossier, key)


def test_confirmations_of_another_round_are_found(dossier, key, server):
    last_receipt_changed(
        dossier, server, lambda first, last: last.model_copy(update={"openings": first.openings}).signed_by(server)
    )
    assert "its terms are of another order" in wrong(dossier, key)


def test_a_receipt_that_the_server_did_not_sign_is_found(dossier, key, server):
    last_receipt_changed(dossier, server, lambda first, last: last.model_copy(update={"adapter_digest": "0" * 64}))
    assert "line 2: is not signed by the server" in wrong(dossier, key)


def test_a_page_that_hides_the_first_line_is_found(dossier, key, server):
    page = dossier / "dossier.html"
    page.write_text(page.read_text().replace("NOT YET CLEARED", "CLEARED"))
    signed_again(dossier, server)
    assert "does not say: NOT YET CLEARED" in wrong(dossier, key)


def test_another_adapter_is_found(dossier, key, private_run):
    earlier = private_run / "rounds" / "0001" / "adapter" / "adapter_model.safetensors"
    assert "is not the adapter of this dossier" in wrong(dossier, key, "--adapter", earlier)


def test_a_roster_of_another_coordinator_is_found(dossier, key):
    assert "not by whom you name" in wrong(dossier, key, "--coordinator", "AAAAA-AAAAA-AAAAA-AAAAA")


def test_a_roster_that_was_changed_is_found(dossier, key, server):
    path = dossier / "evidence" / "roster.json"
    old = verify_dossier._sha256(path.read_bytes())
    path.write_text(path.read_text().replace("simulation of tiny", "simulation of tidy"))
    told = dossier / "dossier.json"
    new = verify_dossier._sha256(path.read_bytes())
    told.write_text(told.read_text().replace(old, new).replace("simulation of tiny", "simulation of tidy"))
    signed_again(dossier, server)
    assert "coordinator's signature does not hold" in wrong(dossier, key)


def test_each_half_of_a_signature_counts(dossier, key, monkeypatch):
    import base64

    made = bytearray(base64.b64decode((dossier / SIGNATURE).read_bytes()))
    made[100] ^= 1  # in the ML-DSA half
    (dossier / SIGNATURE).write_bytes(base64.b64encode(made) + b"\n")
    assert "signature does not hold" in wrong(dossier, key)
    monkeypatch.setattr(verify_dossier, "MLDSA65PublicKey", None)
    status, said = check(dossier, key)
    assert status == 0
    assert "Only the Ed25519 halves" in said
    made[10] ^= 1
    (dossier / SIGNATURE).write_bytes(base64.b64encode(made) + b"\n")
    assert "signature does not hold" in wrong(dossier, key)


def test_a_site_s_part_is_checked_by_itself(dossier):
    part = dossier / "sites" / "site-2"
    key = fingerprint_of(part)
    assert check(part, key)[0] == 0
    (part / "evidence" / "ledger.json").write_bytes(b"{}")
    assert "was changed" in wrong(part, key)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"kind": "server"}', b"\xff", b'{"kind": ["x"]}', b"[" * 9999]
)
def test_a_malformed_manifest_is_a_sentence(dossier, key, content):
    (dossier / MANIFEST).write_bytes(content)
    assert wrong(dossier, key).startswith("WRONG: ")
