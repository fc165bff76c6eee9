"""`sealora-site dossier`: one site's part, of one run of those that its directory knows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from sealora_client.cli import cli
from sealora_client.data.fingerprint import DataSet
from sealora_client.dossier.lived_run import LivedRun
from sealora_client.dossier.part import HandedIn, write_part
from sealora_client.ledger import Ledger
from sealora_common.dossier.directory import read_signed
from sealora_common.dossier.site_part import SitePart
from sealora_common.errors import PolicyError, StorageError
from sealora_common.privacy.accounting import PrivacyEvent
from sealora_common.recipe import load_recipe

from tiny_federation import PRIVATE, run_inline, typed, write_federation


@pytest.fixture(scope="session")
def run(tiny_base, tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("site-part")
    return run_inline(write_federation(home, tiny_base(), privacy=PRIVATE), home / "run")


@pytest.fixture(scope="session")
def run_id(run) -> str:
    found: str = json.loads((run / "run.json").read_bytes())["run_id"]
    return found


@pytest.fixture
def site(run, tmp_path) -> Path:
    return Path(shutil.copytree(run / "sites" / "site-1", tmp_path / "site"))


def part_of(site: Path, run_id: str, out: Path, **handed_in: Path) -> SitePart:
    return write_part(site, run_id, out, HandedIn(**handed_in))[0]


def values(part: SitePart) -> dict[str, object]:
    return {figure.name: figure.value for section in part.sections for figure in section.figures}


def audit_of(recipe_hash: str, site: str = "site-1", *, refuted: bool = False) -> dict[str, object]:
    """As `sealora audit` writes it, as far as a part reads it."""
    roc = {"auc": 0.51, "true_positive_rate": None}
    return {
        "site": site,
        "recipe_hash": recipe_hash,
        "verdict": "Nothing <b>contradicts</b> the claim.",
        "trial": {"claim": 7.9, "lower_bound": 1.25, "largest_bound": 4.5, "canaries": 400, "refuted": refuted},
        "membership": roc,
    }


def test_the_command_writes_a_part_that_the_site_signed(site, run_id, tmp_path):
    said = typed(cli, "dossier", run_id[:8], "--directory", site, "--out", tmp_path / "part")
    assert said.splitlines()[0] == "NOT YET CLEARED: nothing found speaks against this model, and 2 points are open."
    assert "hand it to nobody but those who may know them" in said
    manifest, files = read_signed(tmp_path / "part")
    assert (manifest.kind, manifest.name, manifest.run) == ("site", "site-1", run_id)
    assert "evidence/ledger.json" in files
    assert (tmp_path / "part" / "part.json").stat().st_mode & 0o077 == 0


def test_a_site_s_own_words_are_shown_as_they_are_and_as_text(site, run_id, tmp_path):
    (tmp_path / "own.txt").write_text("Letters of <script>2019</script> to 2024.\nLegal basis: a § of ours.")
    part = part_of(site, run_id, tmp_path / "part", statement=tmp_path / "own.txt")
    page = (tmp_path / "part" / "part.html").read_text()
    assert "&lt;script&gt;2019&lt;/script&gt; to 2024.\nLegal basis: a § of ours." in page
    assert "<script" not in page
    assert "The site has not described its data in its own words." not in part.clearance.open_points
    (tmp_path / "own.txt").write_bytes(b"\xff")
    with pytest.raises(PolicyError, match="is no text in UTF-8"):
        part_of(site, run_id, tmp_path / "more", statement=tmp_path / "own.txt")
    (tmp_path / "own.txt").write_text(" \n")
    with pytest.raises(PolicyError, match="is empty"):
        part_of(site, run_id, tmp_path / "more", statement=tmp_path / "own.txt")
    with pytest.raises(PolicyError, match="cannot be read"):
        part_of(site, run_id, tmp_path / "more", statement=tmp_path / "none.txt")
    assert not (tmp_path / "more").exists()


def test_an_audit_is_told_with_its_figures(site, run_id, tmp_path):
    recipe = load_recipe(site / "recipe.yaml")
    (tmp_path / "audit.json").write_text(json.dumps(audit_of(recipe.hash)))
    part = part_of(site, run_id, tmp_path / "part", audit=tmp_path / "audit.json")
    assert values(part)["epsilon proved at least"] == 1.25
    assert values(part)["the claim is refuted"] is False
    assert "<b>" not in (tmp_path / "part" / "part.html").read_text()
    assert not any("audit" in point for point in part.clearance.open_points)


def test_an_audit_before_the_model_s_digest_was_filled_in_is_of_the_same_recipe(site, run_id, tmp_path):
    recipe = load_recipe(site / "recipe.yaml")
    unbound = recipe.model_copy(update={"model": recipe.model.model_copy(update={"digest": None})})
    assert unbound.hash != recipe.hash
    (tmp_path / "audit.json").write_text(json.dumps(audit_of(unbound.hash)))
    part_of(site, run_id, tmp_path / "part", audit=tmp_path / "audit.json")


def test_an_audit_that_refutes_the_claim_speaks_against_the_model(site, run_id, tmp_path):
    audit = audit_of(load_recipe(site / "recipe.yaml").hash, refuted=True)
    (tmp_path / "audit.json").write_text(json.dumps(audit))
    part = part_of(site, run_id, tmp_path / "part", audit=tmp_path / "audit.json")
    assert part.clearance.first_line.startswith("NOT CLEARED: this model must not leave. The audit refuted the claim")
    assert "NOT CLEARED" in (tmp_path / "part" / "part.html").read_text().partition("</p>")[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (audit_of("0" * 64), "is the audit of another recipe"),
        (audit_of("0" * 64, "site-2"), "is the audit of 'site-2', and this is the part of 'site-1'"),
        ({"site": "site-1"}, r"is no audit\.json"),
        ([], r"is no audit\.json"),
    ],
)
def test_an_audit_of_something_else_is_refused(site, run_id, tmp_path, content, said):
    (tmp_path / "audit.json").write_text(json.dumps(content))
    with pytest.raises(PolicyError, match=said):
        part_of(site, run_id, tmp_path / "part", audit=tmp_path / "audit.json")
    assert not (tmp_path / "part").exists()


def test_what_other_runs_spent_on_the_same_records_is_composed(site, run_id, tmp_path):
    alone = values(part_of(site, run_id, tmp_path / "before"))
    at_site = LivedRun.open(site, run_id)
    from sealora_client.data.load import read_records_of
    from sealora_client.site.config import SiteConfig

    data = SiteConfig.load(site / "site.yaml").data
    train: DataSet = read_records_of(Path(data), at_site.recipe).train_set
    other = "f" * 32
    with Ledger(site / "ledger.sqlite", at_site.identity) as ledger:
        event = PrivacyEvent(noise_multiplier=1.0, sample_rate=0.5, steps=3)
        ledger.charge(dataset=train, run=other, round_number=1, event=event, delta=1e-3, epsilon_limit=100.0)
    part = part_of(site, run_id, tmp_path / "after")
    found = values(part)
    name = "epsilon of {}, a training record"
    assert found[name.format("this run")] == alone[name.format("this run")]
    assert alone[name.format("all runs of this ledger")] == alone[name.format("this run")]
    assert found[name.format("all runs of this ledger")] > found[name.format("this run")] + 0.5
    assert found["other runs, a training record"] == (other,)
    assert (
        "The same records were in other runs: epsilon of all runs is what counts for them."
        in part.clearance.open_points
    )
    data_section = next(section for section in part.sections if section.identifier == "data")
    assert not any("holds several runs" in sentence for sentence in data_section.text)
    measured = "held-out loss, last evaluation"
    assert found[measured] == alone[measured]


@pytest.mark.parametrize("named", ["f" * 32, None], ids=["another run's", "an older version's"])
def test_of_several_runs_only_lines_that_name_the_run_are_told(site, run_id, tmp_path, named):
    measured = "held-out loss, last evaluation"
    alone = values(part_of(site, run_id, tmp_path / "before"))[measured]
    (site / "receipts" / f"{'f' * 32}.jsonl").write_bytes(b"")
    lines = [json.loads(line) for line in (site / "history.jsonl").read_text().splitlines()]
    others = [{**line, "run": named, "heldout_loss": 99.0} for line in lines]
    (site / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, *others]))
    part = part_of(site, run_id, tmp_path / "part")
    assert values(part)[measured] == alone
    assert "99.0" not in (tmp_path / "part" / "evidence" / "history.jsonl").read_text()
    (site / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in others))
    part = part_of(site, run_id, tmp_path / "none")
    assert any("no line that names" in sentence for section in part.sections for sentence in section.text)
    assert measured not in values(part)


def test_a_charge_beyond_what_the_recipe_promises_speaks_against_the_model(site, run_id, tmp_path):
    """As a recipe of another epsilon would have it: the ledger is what was spent."""
    from sealora_client.dossier import part as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROUNDING", -0.5)
        part = part_of(site, run_id, tmp_path / "part")
    assert "The ledger charged more for this run than the recipe promises." in part.clearance.against


def test_a_ledger_without_a_charge_cannot_vouch(site, run_id, tmp_path):
    for file in site.glob("ledger.sqlite*"):
        file.unlink()
    with pytest.raises(StorageError, match="the privacy ledger is missing"):  # as its head tells
        part_of(site, run_id, tmp_path / "lost")
    (site / "ledger.head").unlink()
    part = part_of(site, run_id, tmp_path / "part")
    assert "cannot vouch for any privacy" in part.clearance.first_line
    assert not (site / "ledger.sqlite").exists(), "a part makes no ledger"


def test_a_ledger_that_was_changed_makes_no_part(site, run_id, tmp_path):
    import sqlite3

    with sqlite3.connect(site / "ledger.sqlite") as connection:
        for (trigger,) in connection.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            connection.execute(f"drop trigger {trigger}")
        table = connection.execute(
            "select name from sqlite_master where type = 'table' and name like 'entr%'"
        ).fetchone()
        connection.execute(f"update {table[0]} set body = replace(body, '1', '2')")  # noqa: S608
    with pytest.raises(StorageError):
        part_of(site, run_id, tmp_path / "part")
    assert not (tmp_path / "part").exists()


def test_receipts_that_do_not_hold_speak_against_the_model(site, run_id, tmp_path):
    chain = site / "receipts" / f"{run_id}.jsonl"
    first, second, _ = chain.read_bytes().split(b"\n")
    changed = json.loads(second)
    changed["survivors"] = changed["survivors"][:2]
    text = json.dumps(changed, sort_keys=True, separators=(",", ":")).encode()
    chain.write_bytes(first + b"\n" + text + b"\n")
    part = part_of(site, run_id, tmp_path / "part")
    assert any("receipts of this site do not hold" in reason for reason in part.clearance.against)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("0123456789", "no such run left a receipt"),
        ("xyz", "is no run's identity"),
        ("../../etc", "is no run's identity"),
    ],
)
def test_a_run_that_is_not_known_is_a_sentence(site, tmp_path, named, said):
    with pytest.raises(PolicyError, match=said):
        part_of(site, named, tmp_path / "part")


def test_the_recipe_that_the_site_keeps_of_the_run_is_the_one_that_is_read(site, run_id, tmp_path):
    (site / "recipe.yaml").write_text("not of this run, and no recipe")
    assert part_of(site, run_id, tmp_path / "part").recipe_hash


def test_a_recipe_that_is_not_the_run_s_is_a_sentence(site, run_id, tmp_path):
    other = yaml.safe_load((site / "recipe.yaml").read_text())
    other["rounds"] = 3
    (site / "recipe.yaml").rename(tmp_path / "recipe.yaml")
    (site / "recipe.yaml").write_text(yaml.safe_dump(other))
    part_of(site, run_id, tmp_path / "by-the-kept-one")
    (site / "runs" / run_id / "recipe.yaml").unlink()
    with pytest.raises(PolicyError, match="give the run's with --recipe"):
        part_of(site, run_id, tmp_path / "part")
    part_of(site, run_id, tmp_path / "part", recipe=tmp_path / "recipe.yaml")


def test_a_part_replaces_nothing(site, run_id, tmp_path):
    (tmp_path / "part").mkdir()
    part_of(site, run_id, tmp_path / "part")
    with pytest.raises(StorageError, match="replaces nothing"):
        part_of(site, run_id, tmp_path / "part")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="replaces nothing"):
        part_of(site, run_id, tmp_path / "link")


def test_what_the_base_model_says_of_its_licence_is_told(site, run_id, tmp_path):
    recipe = load_recipe(site / "recipe.yaml")
    base = Path(recipe.model.base)
    (base / "LICENSE").write_text("All rights <i>reserved</i>.")
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\nA model.\n")
    try:
        found = values(part_of(site, run_id, tmp_path / "part"))
    finally:
        (base / "LICENSE").unlink()
        (base / "README.md").unlink()
    assert found["licence on the base model's card"] == "apache-2.0"
    assert found["licence file of the base model"] == "LICENSE"
    assert (tmp_path / "part" / "evidence" / "base-LICENSE").exists()
