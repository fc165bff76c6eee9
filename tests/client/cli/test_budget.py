"""`sealora-site budget`, as a data-protection officer types it: what is spent, and care of the ledger."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sealora_client.ledger import Ledger, journal
from sealora_client.ledger.head import head_path
from sealora_common.entropy import SEED_VARIABLE
from sealora_common.errors import PolicyError
from sealora_common.privacy.accounting import epsilon_pld, epsilon_rdp

from budget_site import DELTA, ROUND, refused, report, run, spend, training_set, write_site
from ledger_runs import FORGER, SITE, copy_ledger, tamper


def test_each_data_set_is_shown_with_what_it_spent(site: Path) -> None:
    spend(site, 3)
    (row,) = report(site)["datasets"]
    mechanisms = [ROUND] * 3
    assert row["fingerprint"] == training_set(site).fingerprint
    assert (row["unit"], row["size"], row["part"]) == ("record", 20, "train")
    assert row["spent"] == pytest.approx(epsilon_pld(mechanisms, DELTA))
    assert row["spent"] < epsilon_rdp(mechanisms, DELTA)
    assert not any(name.startswith("spent_") for name in row)  # one fact, one figure
    assert row["left"] == pytest.approx(8.0 - row["spent"])
    assert (row["open"], row["released"], row["settled"]) == (0, 3, 0)


def test_an_earlier_state_of_the_data_is_shown_and_counts(site: Path) -> None:
    spend(site, 2, training_set(site, 15))
    shown = report(site)
    (row,) = shown["datasets"]
    assert (row["size"], row["part"]) == (15, None)
    assert shown["plan"]["parts"][0]["spent"] == pytest.approx(epsilon_pld([ROUND] * 2, DELTA))


def test_the_history_has_every_charge_and_what_became_of_it(site: Path) -> None:
    first, second = spend(site, 2)
    with Ledger(site / "ledger.sqlite", SITE) as ledger:
        for _ in range(2):
            open_charge = ledger.charge(
                dataset=training_set(site), run="cd" * 16, round_number=1, event=ROUND, delta=DELTA,
                epsilon_limit=9.0,
            )  # fmt: skip
    history = report(site)["history"]
    assert [(line["entry"], line["state"], line["repeats"]) for line in history] == [
        (first, "released", 0),
        (second, "released", 0),
        (open_charge.id, "open", 1),
    ]
    line = history[2]
    assert (line["run"], line["round"], line["epsilon_limit"]) == ("cd" * 16, 1, 9.0)
    assert (line["noise_multiplier"], line["sample_rate"], line["steps"], line["noise"]) == (4.0, 0.5, 2, "gaussian")


def test_the_tables_show_it_to_a_person(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    spend(site, 3)
    said = run("--directory", site)
    for part in (
        "site-0: epsilon spent at delta 0.001, limit 8",
        training_set(site).fingerprint[:8] + "  train",
        f"  {epsilon_pld([ROUND] * 3, DELTA):.4g}  {8 - epsilon_pld([ROUND] * 3, DELTA):.4g}  ",
        "recipe tiny: what it would cost at delta 0.001, limit 8",
        "released",
        "ab" * 4,
    ):
        assert part in said


@pytest.mark.slow
def test_a_long_history_is_cut_unless_all_is_asked_for(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with Ledger(site / "ledger.sqlite", SITE) as ledger:
        for number in range(1, 26):
            ledger.charge(
                dataset=training_set(site), run="ab", round_number=number, event=ROUND, delta=DELTA,
                epsilon_limit=1e9,
            )  # fmt: skip

    def open_lines(*arguments: str) -> int:
        return len(re.findall(r"  open *$", run("--directory", site, *arguments), re.MULTILINE))

    assert open_lines() == 20
    assert "last 20 of 25 charges" in run("--directory", site)
    assert open_lines("--all") == 25


def test_what_a_person_should_know_besides_is_noted(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as insecure:
        insecure.setenv(SEED_VARIABLE, "7")
        insecure.setattr(journal, "now", lambda: "2099-01-01T00:00:00.000+00:00")
        spend(site, 1)
    spend(site, 1, run="cd" * 16)
    head_path(site / "ledger.sqlite").unlink()
    run("accept", "--directory", site)
    accepted, clock, seed = report(site)["notes"]
    assert "the ledger was accepted as it was (head lost)" in accepted
    assert "the clock was set back before entries 5, 6, 7" in clock
    assert seed == "1 charges were made under SEALORA_INSECURE_SEED: their noise protects nothing"
    assert "Note: the clock was set back" in run("--directory", site)


def test_a_site_without_recipe_or_roster_has_a_budget_all_the_same(tmp_path: Path) -> None:
    site = write_site(tmp_path / "site", roster=False)
    assert report(site)["plan"]["roster_size"] == 3  # the recipe's minimum
    (site / "recipe.yaml").unlink()
    spend(site, 1)
    shown = report(site)
    assert shown["plan"] is None
    assert [row["part"] for row in shown["datasets"]] == [None]


# Care of the ledger


def test_export_verify_restore(site: Path, tmp_path: Path) -> None:
    spend(site, 2)
    before = report(site)["history"]
    assert "export.jsonl: 6 entries" in run("export", tmp_path / "export.jsonl", "--directory", site)
    said = run("--directory", site, "verify", "--export", tmp_path / "export.jsonl")
    assert "6 entries, each bound to the one before and signed; none is missing" in said
    assert f"signed by   {SITE.pin}" in said
    (site / "ledger.sqlite").unlink()
    head = (site / "ledger.head").rename(site / "head.aside")
    with pytest.raises(PolicyError, match="nothing tells whether this is the newest export: say what this site has"):
        run("restore", tmp_path / "export.jsonl", "--directory", site)
    head.rename(site / "ledger.head")
    assert "7 entries" in run("restore", tmp_path / "export.jsonl", "--directory", site)
    assert report(site)["history"] == before


def test_settle_closes_an_open_charge(site: Path) -> None:
    with Ledger(site / "ledger.sqlite", SITE) as ledger:
        made = ledger.charge(
            dataset=training_set(site), run="ab", round_number=1, event=ROUND, delta=DELTA, epsilon_limit=8.0
        )
    assert f"charge {made.id}: settled" in run("settle", str(made.id), "--directory", site)
    shown = report(site)
    assert shown["history"][0]["state"] == "settled"
    assert shown["datasets"][0]["spent"] == pytest.approx(epsilon_pld([ROUND], DELTA))


def test_accept_takes_the_key_the_site_had_before(site: Path) -> None:
    spend(site, 1)
    FORGER.save(site / "identity.pem")  # enrolled anew
    said = run("accept", "--signed-by", SITE.pin, "--directory", site)
    assert f"signed by   {FORGER.pin}" in said
    assert "a person had the ledger accepted" in said
    assert len(report(site)["history"]) == 1


# One sentence each


BAD: dict[str, tuple[list[str], str]] = {
    "no site": (["--directory", "nowhere"], "nowhere/site.yaml: no such file: is this a site's directory?"),
    "no recipe": (["--directory", "site", "--recipe", "none.yaml"], "none.yaml: no such recipe"),
    "nothing to verify": (["verify", "--directory", "site"], "there is no privacy ledger here yet"),
    "nothing to export": (["export", "file", "--directory", "site"], "there is no privacy ledger here yet"),
    "nothing to settle": (["settle", "3", "--directory", "site"], "there is no privacy ledger here yet"),
    "nothing to accept": (["accept", "--directory", "site"], "there is no privacy ledger here yet"),
    "no export": (["restore", "none.jsonl", "--directory", "site"], "none.jsonl: cannot be read"),
    "no key": (["accept", "--signed-by", "xyz", "--directory", "site"], "--signed-by: 'xyz' is no key's pin"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_in_one_sentence_and_begins_no_ledger(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    monkeypatch.chdir(site.parent)
    arguments, said = BAD[case]
    assert said in refused(monkeypatch, capsys, *arguments)
    assert not (site / "ledger.sqlite").exists()


def test_a_damaged_ledger_is_said_to_be_damaged_by_every_command(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spend(site, 1)
    tamper(site / "ledger.sqlite", "UPDATE entries SET body = replace(body, '4.0', '9.0') WHERE number = 3")
    for command in ([], ["verify"], ["export", tmp_path / "export.jsonl"], ["settle", "3"], ["accept"]):
        assert "is damaged at entry 3" in refused(monkeypatch, capsys, *command, "--directory", site)


def test_a_ledger_put_back_to_an_earlier_state_is_found_against_an_export(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spend(site, 1)
    backup = copy_ledger(site / "ledger.sqlite", tmp_path / "backup" / "ledger.sqlite")
    spend(site, 1, run="cd" * 16)
    run("export", tmp_path / "export.jsonl", "--directory", site)
    copy_ledger(backup, site / "ledger.sqlite")
    arguments = ("verify", "--export", tmp_path / "export.jsonl", "--directory", site)
    assert "differs from" in refused(monkeypatch, capsys, *arguments)


def test_bad_data_is_named(site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "data.jsonl").write_text("{not json\n")
    assert "data.jsonl, line 1: not JSON" in refused(monkeypatch, capsys, "--directory", site)
