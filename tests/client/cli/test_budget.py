"""`sealora-site budget`, as a data-protection officer types it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sealora_client.cli import cli, main
from sealora_client.data.fingerprint import DataSet
from sealora_client.ledger import Ledger, journal
from sealora_client.ledger.head import head_path
from sealora_common.entropy import SEED_VARIABLE, SeededEntropy
from sealora_common.identity import Identity
from sealora_common.privacy.accounting import PrivacyEvent, epsilon_pld, epsilon_rdp
from sealora_common.privacy.plan import privacy_plan
from sealora_common.privacy.several_sites import at_several_sites
from sealora_common.recipe import load_recipe
from sealora_common.roster import Roster

from ledger_runs import FORGER, SITE, bodies, copy_ledger, tamper

DELTA = 1e-3
COORDINATOR = Identity.create("coordinator", SeededEntropy("coordinator"))
DISTRIBUTED = {"mechanism": "distributed"}
ROUND = PrivacyEvent(noise_multiplier=4.0, sample_rate=0.5, steps=2)


def write_site(directory: Path, *, roster: bool = True, person: bool = False, **privacy: Any) -> Path:
    """A site with 20 training and 5 held-out records, of 10 and 5 persons, and a recipe of four rounds."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "prompt": f"What is {number}?",
            "response": f"{number}.",
            "split": "heldout" if number < 5 else "train",
            "patient": f"p{number if number < 5 else 5 + number % 10}",
        }
        for number in range(25)
    ]
    (directory / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = {
        "name": "tiny",
        "rounds": 4,
        "model": {"base": "smollm2-135m-instruct"},
        "data": {"person_field": "patient"} if person else {},
        "training": {"sample_rate": 0.5, "steps_per_round": 1 if "mechanism" in privacy else 2},
        "sealing": {"ring_bits": 24},
        "privacy": {"epsilon": 6.0, "delta": DELTA, **privacy},
    }
    files = {
        "site.yaml": {"name": "site-0", "data": "data.jsonl", "coordinator": COORDINATOR.pin},
        "policy.yaml": {"epsilon_limit": 8.0, "delta_limit": DELTA},
        "recipe.yaml": recipe,
    }
    for name, content in files.items():
        (directory / name).write_text(yaml.safe_dump(content))
    SITE.save(directory / "identity.pem")
    if roster:
        keys = {"site-0": SITE.public_key, "site-1": FORGER.public_key, "site-2": COORDINATOR.public_key}
        Roster.create("test", keys, COORDINATOR, COORDINATOR.public_key).save(directory / "roster.json")
    return directory


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return write_site(tmp_path / "site")


def training_set(site: Path, count: int | None = None) -> DataSet:
    lines = [json.loads(line) for line in (site / "data.jsonl").read_text().splitlines()]
    train = [(line["prompt"], line["response"]) for line in lines if line["split"] == "train"]
    return DataSet.of_records(train[:count])


def spend(site: Path, rounds: int, dataset: DataSet | None = None, run: str = "ab" * 16) -> list[int]:
    """Charges and releases some rounds of the site's training data."""
    entries = []
    with Ledger(site / "ledger.sqlite", SITE) as ledger:
        for number in range(1, rounds + 1):
            made = ledger.charge(
                dataset=dataset or training_set(site),
                run=run,
                round_number=number,
                event=ROUND,
                delta=DELTA,
                epsilon_limit=8.0,
            )
            ledger.mark_released(made.id)
            entries.append(made.id)
    return entries


def run(*arguments: str | Path) -> str:
    """The command's output."""
    result = CliRunner().invoke(cli, ["budget", *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return result.output


def report(site: Path, *arguments: str | Path) -> dict[str, Any]:
    return dict(json.loads(run("--directory", site, "--json", *arguments)))


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The error of a command that ends as it should: one sentence on stderr, exit status 1."""
    monkeypatch.setattr(sys, "argv", ["sealora-site", "budget", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    captured = capsys.readouterr()
    assert left.value.code == 1
    assert captured.out == ""
    assert captured.err.startswith("Error: ")
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("Error: ").rstrip("\n")


# What is spent


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
    monkeypatch.setenv("COLUMNS", "160")
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


def test_a_long_history_is_cut_unless_all_is_asked_for(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
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


# What a recipe would cost


def test_a_recipe_s_cost_is_told_before_it_runs(site: Path) -> None:
    shown = report(site)
    recipe = load_recipe(site / "recipe.yaml")
    assert shown["datasets"] == shown["history"] == []
    train, heldout = shown["plan"]["parts"]
    for part, mechanism, rounds in (
        (train, privacy_plan(recipe, 3).training.event, 4),
        (heldout, privacy_plan(recipe, 3).heldout.event, 5),
    ):
        assert mechanism is not None
        assert part["rounds"] == rounds
        assert part["noise_multiplier"] == mechanism.noise_multiplier
        assert part["one_round"] == pytest.approx(epsilon_pld([mechanism], DELTA))
        assert part["whole_run"] == pytest.approx(epsilon_pld([mechanism] * rounds, DELTA))
        assert part["whole_run"] <= 6.0
        assert (part["spent"], part["after_run"]) == (0, part["whole_run"])
        fitting = part["rounds_left"]
        assert epsilon_pld([mechanism] * fitting, DELTA) <= 8.0 < epsilon_pld([mechanism] * (fitting + 1), DELTA)
    assert shown["plan"]["runs"] == 1
    assert (train["size"], heldout["size"]) == (20, 5)
    assert shown["plan"]["refused"] is None
    assert bodies(site / "ledger.sqlite")[1:] == []  # asking costs nothing


def test_spare_rounds_count_to_the_whole_run(tmp_path: Path) -> None:
    site = write_site(tmp_path / "site", **DISTRIBUTED, spare_rounds=2)
    assert [part["rounds"] for part in report(site)["plan"]["parts"]] == [6, 5]


def test_a_run_that_does_not_fit_any_more_is_told_beforehand(site: Path) -> None:
    spend(site, 20)
    (site / "policy.yaml").write_text(yaml.safe_dump({"epsilon_limit": 6.5, "delta_limit": DELTA}))
    plan = report(site)["plan"]
    train = plan["parts"][0]
    assert train["after_run"] > 6.5
    assert train["rounds_left"] < 4
    assert plan["refused"] == (
        f"the train data would reach epsilon {train['after_run']:.4g} of 6.5: {train['rounds_left']} of 4 "
        "training rounds fit"
    )
    assert "This site would refuse: the train data would reach" in run("--directory", site)


@pytest.mark.parametrize(("privacy", "person"), [({}, False), ({}, True), (DISTRIBUTED, False), (DISTRIBUTED, True)])
def test_what_is_promised_to_somebody_at_several_sites_is_told(
    tmp_path: Path, privacy: dict[str, str], person: bool
) -> None:
    site = write_site(tmp_path / "site", person=person, **privacy)
    recipe = load_recipe(site / "recipe.yaml")
    found = report(site)["plan"]["several_sites"]
    expected = at_several_sites(recipe, 3, 2)
    assert expected is not None
    assert found == {"sites": 2, "epsilon": pytest.approx(expected.epsilon)}
    said = " ".join(run("--directory", site).split())
    unit = "person" if person else "record"
    assert f"A {unit} in the data of 2 sites is promised epsilon {expected.epsilon:.4g} by a run, not 6:" in said
    three = report(site, "--sites", "3")["plan"]["several_sites"]
    assert (three["sites"], three["epsilon"] > found["epsilon"]) == (3, True)
    alone = " ".join(run("--directory", site, "--sites", "1").split())
    assert f"A {unit} in the data of this site alone is promised epsilon " in alone
    assert "of 1 sites" not in alone


def test_more_sites_than_the_federation_has_are_refused(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(monkeypatch, capsys, "--directory", site, "--sites", "4")
    assert said == "a unit at 4 sites is asked for, but the roster has 3: ask for 1 to that"


def test_how_many_such_runs_the_limit_allows_is_told(site: Path) -> None:
    assert "The limit allows 1 such run over this data's lifetime." in run("--directory", site)
    (site / "policy.yaml").write_text(yaml.safe_dump({"epsilon_limit": 20.0, "delta_limit": DELTA}))
    runs = report(site)["plan"]["runs"]
    assert runs > 2
    assert f"The limit allows {runs} such runs over this data's lifetime." in run("--directory", site)


def test_another_recipe_can_be_asked_about(site: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    changed = yaml.safe_load((site / "recipe.yaml").read_text()) | {"name": "other"}
    changed["rounds"] = 6
    other.write_text(yaml.safe_dump(changed))
    plan = report(site, "--recipe", other)["plan"]
    assert (plan["recipe"], plan["parts"][0]["rounds"]) == ("other", 6)


def test_a_recipe_outside_the_policy_is_told(site: Path) -> None:
    policy = {"epsilon_limit": 8.0, "delta_limit": DELTA / 10}
    (site / "policy.yaml").write_text(yaml.safe_dump(policy))
    assert "delta_limit is 0.0001, but the recipe's privacy.delta is 0.001" in report(site)["plan"]["refused"]


def test_a_delta_too_large_for_the_data_is_told(tmp_path: Path) -> None:
    site = write_site(tmp_path / "site", delta=0.3)
    (site / "policy.yaml").write_text(yaml.safe_dump({"epsilon_limit": 8.0, "delta_limit": 0.5}))
    assert "privacy.delta is 0.3 but must be below 1 / 20" in report(site)["plan"]["refused"]


def test_a_recipe_without_privacy_charges_nothing(tmp_path: Path) -> None:
    site = write_site(tmp_path / "site", mechanism="none")
    policy = {"epsilon_limit": 8.0, "delta_limit": DELTA, "allow_without_privacy": True}
    (site / "policy.yaml").write_text(yaml.safe_dump(policy))
    assert report(site)["plan"]["parts"] == []
    assert "no privacy mechanism, so nothing would be charged" in run("--directory", site)


def test_persons_are_counted_and_not_mixed_with_records(tmp_path: Path) -> None:
    site = write_site(tmp_path / "site", person=True)
    train, heldout = report(site)["plan"]["parts"]
    assert [(part["unit"], part["size"]) for part in (train, heldout)] == [("person", 10), ("person", 5)]
    spend(site, 1)  # by record
    plan = report(site)["plan"]
    assert "guarantees for records and for persons cannot be composed" in plan["refused"]


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
