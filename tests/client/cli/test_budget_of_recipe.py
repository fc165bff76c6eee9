"""What a recipe would cost, as `sealora-site budget` tells it before it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sealora_common.privacy.accounting import epsilon_pld
from sealora_common.privacy.plan import privacy_plan
from sealora_common.privacy.several_sites import at_several_sites
from sealora_common.recipe import load_recipe

from budget_site import DELTA, refused, report, run, spend, write_site
from ledger_runs import bodies

DISTRIBUTED = {"mechanism": "distributed"}


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
