"""`sealora plan` as a person meets it: the page, the JSON, every kind of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quick_cases import quick_cases
from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.errors import SealoraError
from sealora_common.privacy.noise_law import outlook
from sealora_common.recipe import load_recipe
from sealora_common.records.site_time import SiteTime
from sealora_common.show.console import SafeConsole
from sealora_server.planning import planning
from sealora_server.planning.page import print_plan
from sealora_server.planning.planning import Planning

from cli_server import CliServer
from tiny_federation import PRIVATE, write_federation

CONFIGS = Path(__file__).parents[3] / "configs"
DEMO = CONFIGS / "demo-icd10.yaml"
SMALL = {"SEALORA_CACHE": "nowhere", "PYTHONWARNINGS": "ignore", "COLUMNS": "100"}


@pytest.fixture(scope="module")
def warm(cli, tmp_path_factory) -> CliServer:
    """One that remembers how much noise the demo's epsilon takes."""
    cli.warm("plan", DEMO, "--records", "3000", "--parameters", "1000", cwd=tmp_path_factory.mktemp("warm"))
    return cli


@pytest.fixture
def recipe(tiny_base, tmp_path) -> Path:
    return write_federation(tmp_path, tiny_base(), rounds=4, privacy=PRIVATE)


@pytest.mark.slow
def test_records_are_counted_the_adapter_is_asked_and_a_piece_of_the_work_is_timed(warm, recipe, tmp_path):
    done = warm.run("plan", recipe, "--time", "--gradients", "--json", cwd=tmp_path, env=SMALL)
    assert done.status == 0, done.stderr
    assert done.stdout.count("\n") == 1
    told = json.loads(done.stdout)
    assert [(site["name"], site["units"]) for site in told["outlook"]["sites"]] == [
        ("site-0", 24),
        ("site-1", 25),
        ("site-2", 26),
    ]
    assert told["outlook"]["parameters"] > 100
    assert told["outlook"]["uplink_bytes"] > 4 * 2 * told["outlook"]["parameters"]
    assert [each["site"] for each in told["times"]] == ["site-0", "site-1", "site-2"]
    assert all(0 < each["step"] < each["round"] < each["run"] for each in told["times"])
    assert set(told["gradient_shares"]) == {part["name"] for part in told["outlook"]["layers"]}
    assert sum(told["gradient_shares"].values()) == pytest.approx(1)
    assert told["left_out"] == []


@pytest.mark.slow
def test_the_page_has_what_a_coordinator_asks_for(warm, recipe, tmp_path):
    done = warm.run("plan", recipe, "--time", cwd=tmp_path, env=SMALL)
    assert done.status == 0, done.stderr
    for wanted in (
        "tiny: local, 3 sites",
        "site-2",
        "all together",
        "epsilon",
        "C/N",
        "take",
        "Worth:",
        "the run",
        "q 0.5",
    ):
        assert wanted in done.stdout, wanted


@pytest.mark.parametrize("name", quick_cases(["demo-icd10.yaml", "demo-icd10-distributed.yaml"], "demo-icd10.yaml"))
def test_a_bank_of_60_that_copies_the_demo_is_warned_in_a_sentence_and_the_demo_is_not(warm, tmp_path, name):
    bank = warm.run("plan", CONFIGS / name, "--records", "60", cwd=tmp_path, env=SMALL)
    assert bank.status == 0
    warnings = [line for line in bank.stdout.splitlines() if line.startswith("Warning: ")]
    assert len(warnings) == 1
    assert warnings[0].startswith("Warning: noise drowns the records: a step draws 5.4 of all sites' 180 records")
    demo = warm.run("plan", CONFIGS / name, "--records", "2900,2371,3558", cwd=tmp_path, env=SMALL)
    assert demo.status == 0
    assert "drowns" not in demo.stdout
    assert "cancer-centre" in demo.stdout


@pytest.mark.slow
def test_the_8b_recipe_as_it_was_is_told_what_to_write(warm, tmp_path):
    old = ("training.sample_rate=0.02", "training.steps_per_round=4")
    done = warm.run("plan", CONFIGS / "hospital-8b.yaml", *old, "--records", "50000", cwd=tmp_path, env=SMALL)
    assert done.status == 0, done.stderr
    assert "Take training.sample_rate=0.08 training.steps_per_round=1: " in done.stdout
    now = warm.run("plan", CONFIGS / "hospital-8b.yaml", "--records", "50000", cwd=tmp_path, env=SMALL)
    assert "Leave q at 0.08: " in now.stdout


def test_without_the_base_model_its_parameters_and_the_time_are_left_out_and_that_is_said(warm, tmp_path):
    done = warm.run("plan", DEMO, "--records", "3000", "--time", "--gradients", "--json", cwd=tmp_path, env=SMALL)
    assert done.status == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["outlook"]["parameters"], told["times"]) == (None, None)
    model, time, gradients = told["left_out"]
    assert "smollm2-135m-instruct is not here" in model
    assert "--parameters" in model
    assert "The time is left out" in time
    assert "Where gradients lie is left out" in gradients
    assert told["gradient_shares"] is None
    assert not (tmp_path / "nowhere").exists()


def test_given_parameters_are_taken(warm, tmp_path):
    done = warm.run("plan", DEMO, "--records", "3000", "--parameters", "5000", "--json", cwd=tmp_path, env=SMALL)
    assert json.loads(done.stdout)["outlook"]["parameters"] == 5000


def test_without_privacy_there_is_a_page_too(warm, tmp_path):
    done = warm.run("plan", DEMO, "privacy.mechanism=none", "--records", "3000", cwd=tmp_path, env=SMALL)
    assert done.status == 0, done.stderr
    assert "Nothing is noised" in done.stdout


REFUSED = {
    "no file to count": ((DEMO,), "sites.simulated: the file of cancer-centre"),
    "a fraction": ((DEMO, "--records", "2.5"), "--records: '2.5' is no list of numbers"),
    "nothing": ((DEMO, "--records", " , "), "is no list of numbers"),
    "none": ((DEMO, "--records", "0"), "is no list of numbers"),
    "a sign": ((DEMO, "--records", "+60"), "is no list of numbers"),
    "other digits": ((DEMO, "--records", "٦٠"), "is no list of numbers"),
    "too many": ((DEMO, "--records", "9" * 5000), "is no list of numbers"),
    "too few sites": ((DEMO, "--records", "60,60"), "sites.minimum is 3, and there are 2 sites"),
    "too many sites": ((DEMO, "--records", ",".join(["60"] * 1001)), "1000 is the most"),
    "two numbers of sites": (
        (DEMO, "--records", "60,60,60", "--sites", "4"),
        "--sites is 4, but --records has 3 numbers",
    ),
    "sites alone": ((DEMO, "--sites", "4"), "--sites says for how many sites --records is"),
    "persons of records": ((DEMO, "--persons", "60"), "give --records"),
    "records of persons": (
        (DEMO, "data.person_field=patient", "--records", "60"),
        "(data.person_field is 'patient'): give",
    ),
    "a delta above 1 / N": ((DEMO, "--records", "20000"), "a site of 20,000 records: privacy.delta is 0.0001"),
    "no recipe": (("nowhere.yaml",), "no such recipe"),
    "an unknown key": ((DEMO, "privacy.epsilom=1"), "epsilom"),
    "no noise will do": (
        (DEMO, "privacy.epsilon=1e-12", "privacy.delta=1e-12", "--records", "60"),
        "no amount of noise",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_ends_in_one_sentence(warm, tmp_path, case):
    arguments, said = REFUSED[case]
    done = warm.run("plan", *arguments, cwd=tmp_path, env=SMALL)
    assert done.status == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_one_number_is_for_as_many_sites_as_are_said(warm, tmp_path):
    done = warm.run("plan", DEMO, "--records", "3000", "--sites", "5", "--json", cwd=tmp_path, env=SMALL)
    sites = json.loads(done.stdout)["outlook"]["sites"]
    assert [site["name"] for site in sites] == [f"site {number}" for number in range(1, 6)]


def test_persons_are_counted_where_they_are_the_unit(warm, recipe, tmp_path):
    done = warm.run("plan", recipe, "data.person_field=patient", "--json", cwd=tmp_path, env=SMALL)
    assert done.status == 0, done.stderr
    told = json.loads(done.stdout)["outlook"]
    assert [site["units"] for site in told["sites"]] == [6, 7, 7]  # four records each
    assert told["unit"] == "person"


@pytest.mark.slow
def test_a_coordinator_without_the_site_package_is_told_all_but_the_adapter(monkeypatch):
    def absent():
        raise SealoraError("a simulation needs the site package")

    monkeypatch.setattr(planning, "simulated_sites", absent)
    told = Planning(load_recipe(DEMO), records=("3000",)).planned()
    assert told.outlook.parameters is None
    with pytest.raises(SealoraError, match="site package"):
        Planning(load_recipe(DEMO)).planned()


def test_the_time_that_is_printed_is_the_one_that_the_sites_measured(monkeypatch, capsys):
    class Sites:
        @staticmethod
        def times(recipe, units):
            return [SiteTime(site=name, step=1.5 * n / 1000, round=30.0, run=3600.0) for name, n in units.items()]

    monkeypatch.setattr(planning, "simulated_sites", Sites)
    print_plan(Planning(load_recipe(DEMO), ("1000,2000,4000",), parameters=9, timed=True).planned(), SafeConsole())
    lines = capsys.readouterr().out.splitlines()
    site, together = (next(line for line in lines if name in line) for name in ("heart-hospital", "all together"))
    assert all(wanted in site for wanted in (" 3 s ", " 30 s ", " 1 h 00 min"))
    # One site after the other.
    assert all(wanted in together for wanted in (" 10 s ", " 1 min 30 s ", " 3 h 00 min"))


def test_the_page_tells_from_which_share_on_it_pays_to_train_a_part_of_the_layers(monkeypatch, capsys):
    names = ("up_proj", "v_proj")
    layout = AdapterLayout(tuple(TensorSpec(f"m.{name}.lora_B.weight", (900, 8)) for name in names))

    class Sites:
        @staticmethod
        def outlined_layout(recipe):
            return layout

    monkeypatch.setattr(planning, "simulated_sites", Sites)
    planned = Planning(load_recipe(DEMO), ("1000,2000,4000",)).planned()
    print_plan(planned, SafeConsole())
    said = capsys.readouterr().out
    for part in planned.outlook.layers:
        row = next(line for line in said.splitlines() if line.startswith(f" {part.name}"))
        assert row.split()[1:] == ["7,200", f"{part.worth:.3g}", f"{100 * part.pays_from:.2g}", "%"]
    assert "Noise is shorter over fewer parameters" in said
    assert "--gradients does" in said
    assert "holds" not in said
    print_plan(planned.model_copy(update={"gradient_shares": {"v_proj": 0.521}}), SafeConsole())
    said = capsys.readouterr().out
    for name, holds in (("v_proj", "52"), ("up_proj", "0")):
        row = next(line for line in said.splitlines() if line.startswith(f" {name}"))
        assert row.split()[-2:] == [holds, "%"]
    assert "no release" in said
    print_plan(Planning(load_recipe(DEMO), ("1000,2000,4000",), parameters=14_400).planned(), SafeConsole())
    assert "fewer parameters" not in capsys.readouterr().out


def test_what_is_said_is_what_common_says():
    recipe = load_recipe(DEMO)
    told = Planning(recipe, records=("60,61,62",), parameters=1000).planned()
    assert told.outlook == outlook(recipe, (60, 61, 62), tuple(recipe.sites.simulated), 1000)
