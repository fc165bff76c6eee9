"""A site's directory in one file and back: what goes with it, what does not, and who may put what back."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import yaml
from typer.testing import CliRunner

from sealora_client.budget.admission import _reserved
from sealora_client.cli import cli
from sealora_client.data.fingerprint import DataSet
from sealora_client.ledger import Ledger
from sealora_client.ledger.recovery import restore_ledger
from sealora_client.upkeep.backup import EXPORTED_LEDGER, back_up_site
from sealora_client.upkeep.restore import restore_site
from sealora_common.archive import locked
from sealora_common.archive.read import opened_archive
from sealora_common.archive.write import new_archive
from sealora_common.errors import BudgetError, PolicyError, StorageError
from sealora_common.privacy.accounting import epsilon_pld

from budget_site import ROUND, training_set, write_site
from ledger_runs import DELTA, FORGER, SITE

WORD = b"correct horse"
RUN = "ab" * 16
PLANNED = 4
EVALUATION = replace(ROUND, sample_rate=1.0, steps=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(locked, "_COST", 2**4)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def site(tmp_path):
    return write_site(tmp_path / "site")


def evaluate(site, run=RUN, planned=3):
    """What the run is charged for first: an evaluation, of other records than those it trains on."""
    with Ledger(site / "ledger.sqlite", SITE) as ledger:
        made = ledger.charge(
            dataset=DataSet.of_records([("held", "out")]), run=run, round_number=1, event=EVALUATION, delta=DELTA,
            epsilon_limit=1000.0, planned=planned,
        )  # fmt: skip
        ledger.mark_released(made.id)


def charge(site, round_number, *, planned=PLANNED, released=True, run=RUN):
    if round_number == 1:
        evaluate(site, run)
    with Ledger(site / "ledger.sqlite", SITE) as ledger:
        made = ledger.charge(
            dataset=training_set(site), run=run, round_number=round_number, event=ROUND, delta=DELTA,
            epsilon_limit=1000.0, planned=planned,
        )  # fmt: skip
        if released:
            ledger.mark_released(made.id, "ab" * 32)


def spent(site):
    with Ledger(site / "ledger.sqlite", SITE) as ledger:
        return ledger.spent(training_set(site), DELTA)


def types(*words):
    result = CliRunner().invoke(cli, [str(word) for word in words])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_a_site_that_had_sent_nothing_comes_back_by_the_word_that_it_has_not_run_since(site, tmp_path):
    (tmp_path / "word").write_bytes(WORD)
    said = types("backup", tmp_path / "a.tar", "--directory", site, "--passphrase-file", tmp_path / "word")
    assert "0 entries of the ledger, locked" in said
    restore = ("restore", tmp_path / "a.tar", tmp_path / "back", "--passphrase-file", tmp_path / "word")
    types(*restore, "--spent-since", "nothing")
    for name in ("site.yaml", "policy.yaml", "recipe.yaml", "identity.pem", "roster.json"):
        assert (tmp_path / "back" / name).read_bytes() == (site / name).read_bytes()
    assert not (tmp_path / "back" / "data.jsonl").exists()


def test_what_a_site_keeps_of_a_run_that_is_over_comes_back_without_what_is_half_written(site, tmp_path):
    kept = site / "runs" / RUN
    for name in ("adapter/adapter_model.safetensors", "conclusion.json", "recipe.yaml", ".adapter.unfinished/half"):
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        (kept / name).write_text(name)
    back_up_site(site, tmp_path / "a.tar", WORD)
    restore_site(tmp_path / "a.tar", tmp_path / "back", lambda: WORD, "nothing")
    back = tmp_path / "back" / "runs" / RUN
    assert {path.relative_to(back).as_posix() for path in back.rglob("*") if path.is_file()} == {
        "adapter/adapter_model.safetensors", "conclusion.json", "recipe.yaml",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("since", "said"),
    [
        (None, r"was made 20.*: say what this site has done since, with --spent-since"),
        ("known-runs", r"knows of no run, so what the site took part in since is in none that it knows"),
    ],
)
def test_a_backup_from_before_the_first_charge_does_not_forget_what_was_spent_since(site, tmp_path, since, said):
    back_up_site(site, tmp_path / "a.tar", WORD)
    charge(site, 1)
    with pytest.raises(PolicyError, match=said):
        restore_site(tmp_path / "a.tar", tmp_path / "back", lambda: WORD, since)
    assert not (tmp_path / "back").exists()


def test_the_ledger_says_for_good_what_a_person_said_of_the_time_since(site, tmp_path):
    charge(site, 1)
    back_up_site(site, tmp_path / "a.tar", WORD)
    restore_site(tmp_path / "a.tar", tmp_path / "nothing", lambda: WORD, "nothing")
    (site / "data.jsonl").rename(tmp_path / "nothing" / "data.jsonl")
    assert spent(tmp_path / "nothing") == pytest.approx(epsilon_pld([ROUND], DELTA))
    said = types("budget", "--directory", tmp_path / "nothing")
    assert "restored from an export, as nothing had left since" in said.replace("\n", " ")


@pytest.mark.parametrize("rounds", [1, 3, PLANNED])
def test_all_that_a_known_run_could_yet_take_is_spent_at_once_and_nothing_leaves_under_it(site, tmp_path, rounds):
    for number in range(1, rounds):
        charge(site, number)
    charge(site, rounds, released=False)  # it may have left since
    back_up_site(site, tmp_path / "a.tar", WORD)
    found = restore_site(tmp_path / "a.tar", tmp_path / "back", lambda: WORD, "known-runs")
    assert found.closed == (RUN,)
    (site / "data.jsonl").rename(tmp_path / "back" / "data.jsonl")
    whole = epsilon_pld([ROUND.repeated(PLANNED)], DELTA)
    assert spent(tmp_path / "back") == pytest.approx(whole)
    with Ledger(tmp_path / "back" / "ledger.sqlite", SITE) as ledger:
        rows = ledger.charges()
        assert not any(row.is_unused for row in rows)
        for row in rows:
            with pytest.raises(BudgetError):
                ledger.mark_released(row.id, "cd" * 32)
        # Of what another run is judged beside, nothing counts twice.
        assert list(_reserved(rows, datetime.now(UTC))) == []


def test_a_run_that_was_taken_back_by_then_may_have_begun_anew_since(site, tmp_path):
    """Two runs for which there was not room together: nothing of the older had left, all of it may have since."""
    charge(site, 1, released=False)
    evaluate(site, "cd" * 16)
    with Ledger(site / "ledger.sqlite", SITE) as ledger:
        limit = epsilon_pld([ROUND], DELTA) * 1.01
        made = ledger.charge(
            dataset=training_set(site), run="cd" * 16, round_number=1, event=ROUND, delta=DELTA, epsilon_limit=limit,
            planned=1,
        )  # fmt: skip
        ledger.mark_released(made.id)
        assert [row.run for row in ledger.charges() if row.voided] == [RUN]
    back_up_site(site, tmp_path / "a.tar", WORD)
    restore_site(tmp_path / "a.tar", tmp_path / "back", lambda: WORD, "known-runs")
    (site / "data.jsonl").rename(tmp_path / "back" / "data.jsonl")
    assert spent(tmp_path / "back") == pytest.approx(epsilon_pld([ROUND.repeated(PLANNED + 1)], DELTA))


@pytest.mark.parametrize("known", ["evaluation", "training"])
def test_a_backup_that_knows_one_kind_of_charge_does_not_know_what_the_other_has_spent_since(site, tmp_path, known):
    """The evaluation is charged first, and takes a while; a site that joined late may train before it evaluates."""
    if known == "evaluation":
        evaluate(site)
    else:
        charge(site, 2)
    back_up_site(site, tmp_path / "a.tar", WORD)
    with pytest.raises(StorageError, match=r"run abababababab had been charged for training alone or for evaluation"):
        restore_site(tmp_path / "a.tar", tmp_path / "back", lambda: WORD, "known-runs")
    restore_site(tmp_path / "a.tar", tmp_path / "back", lambda: WORD, "nothing")


def test_what_a_run_of_an_earlier_version_may_take_is_not_known_so_it_is_not_put_back(site, tmp_path):
    charge(site, 1, planned=0)
    back_up_site(site, tmp_path / "a.tar", WORD)
    with pytest.raises(StorageError, match="nothing tells what it has spent since, so these records must not be used"):
        restore_site(tmp_path / "a.tar", tmp_path / "back", lambda: WORD, "known-runs")
    assert not (tmp_path / "back").exists()
    restore_site(tmp_path / "a.tar", tmp_path / "back", lambda: WORD, "nothing")


def test_an_open_charge_may_be_taken_up_again_only_if_nothing_left_since(site, tmp_path):
    charge(site, 1, released=False)
    for since, unused in (("nothing", True), ("known-runs", False), (None, False)):
        export = tmp_path / f"{since}.jsonl"
        types("budget", "--directory", site, "export", export)
        path = tmp_path / f"{since}.sqlite"
        restore_ledger(export, path, SITE, since=since)
        with Ledger(path, SITE) as ledger:
            (row,) = [row for row in ledger.charges() if row.event == ROUND and row.round_number == 1]
            assert row.is_unused == unused


def test_of_two_kinds_of_charge_and_two_runs_each_is_written_off_for_itself(site, tmp_path):
    first, second = RUN, "cd" * 16
    with Ledger(site / "ledger.sqlite", SITE) as ledger:
        for run, event, planned in (
            (first, ROUND, 4), (first, EVALUATION, 5), (second, ROUND, 2), (second, EVALUATION, 1),
        ):  # fmt: skip
            made = ledger.charge(
                dataset=training_set(site), run=run, round_number=1, event=event, delta=DELTA, epsilon_limit=1000.0,
                planned=planned,
            )  # fmt: skip
            ledger.mark_released(made.id)
    assert types("budget", "--directory", site, "write-off").count("all that it could yet take is spent") == 2
    whole = [ROUND.repeated(4), EVALUATION.repeated(5), ROUND.repeated(2), EVALUATION]
    assert spent(site) == pytest.approx(epsilon_pld(whole, DELTA))


def test_a_backup_of_a_site_s_files_that_somebody_else_signed_is_refused(site, tmp_path):
    with new_archive(tmp_path / "a.tar", kind="site", name="site-0", identity=FORGER) as writer:
        for name in ("site.yaml", "identity.pem"):
            writer.add(name, (site / name).read_bytes())
    with pytest.raises(PolicyError, match="signed by another key than its site's"):
        restore_site(tmp_path / "a.tar", tmp_path / "back", lambda: WORD, "nothing")
    assert not (tmp_path / "back").exists()


def test_keys_lie_open_only_where_somebody_says_so_and_what_lies_elsewhere_is_told(site, tmp_path):
    values = yaml.safe_load((site / "site.yaml").read_text())
    (tmp_path / "ca.pem").write_text("x")
    (site / "site.yaml").write_text(yaml.safe_dump(values | {"ca": "../ca.pem"}))
    said = types("backup", tmp_path / "open.tar", "--directory", site, "--keys-open")
    assert "ca.pem, which lies outside of the site's directory" in said.replace("\n", "")
    assert b"PRIVATE KEY" in (tmp_path / "open.tar").read_bytes()
    with pytest.raises(PolicyError, match="exclude each other"):
        types("backup", tmp_path / "b.tar", "--directory", site, "--keys-open", "--passphrase-file", tmp_path / "w")


def test_a_damaged_ledger_is_not_backed_up_as_if_it_were_whole(site, tmp_path):
    charge(site, 1)
    (site / "ledger.head").unlink()
    with pytest.raises(StorageError, match=r"ledger\.head is missing"):
        back_up_site(site, tmp_path / "a.tar", WORD)
    assert not (tmp_path / "a.tar").exists()
    (site / "ledger.sqlite").unlink()
    back_up_site(site, tmp_path / "a.tar", WORD)  # a site that was never charged
    with opened_archive(tmp_path / "a.tar") as archive:
        assert EXPORTED_LEDGER not in {each.path for each in archive.files}
