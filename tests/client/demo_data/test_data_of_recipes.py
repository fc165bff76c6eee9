"""Every task's data is the same each time, and is what its recipe reads."""

from __future__ import annotations

import builtins
import hashlib
import json
import re
import string
from pathlib import Path

import pytest

from sealora_client.data.load import against_recipe
from sealora_client.data.records import read_records
from sealora_client.demo_data.choice import DemoTask, build_demo
from sealora_client.demo_data.files import DemoSite
from sealora_client.demo_data.support_phrasings import PHRASINGS
from sealora_common.errors import DataError
from sealora_common.recipe import load_recipe

from demo_recipes import CONFIGS, RECIPES, need_the_package_of

DIGESTS = {
    DemoTask.CODING: "8bd7db7a02cf368c20d7c6247249110b3ecd6f91e910c158d06fdcd31b841960",
    DemoTask.DEPARTMENTS: "e55946afc5ecab228a5d25c1e36346502f0de0171a77886096774e24015ab463",
    DemoTask.NEAR_CODES: "88bb46b6028199d768f7e21eef74e5606cc8ff4aa5ffdf5ead3e348f26047373",
    DemoTask.CONVERSATIONS: "bdd79ef0bfbfed239f93d6938232fd326f07d3efbb3f4f43371b6554c362c2e7",
    DemoTask.HANDBOOKS: "5cf6f096fb9ae767e864f5edd66f0ea36f55f0c28ecf3aae41b30c92dc228bbc",
    DemoTask.CURRENCIES: "ee6508f7c860fb2ae788497dd83825179e05a1fdc219c060ff067866ec59bad6",
    DemoTask.SUPPORT: "a56bb333db055f04c4dbedf347316dd1419420f0dd630553c75e9077b16e2df8",
}
"""SHA-256 of each task's files, one after another in the order of their names."""

TASKS = pytest.mark.parametrize("task", DemoTask)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """`built(task)`: the task's sites, built once."""
    made: dict[DemoTask, list[DemoSite]] = {}

    def build(task: DemoTask) -> list[DemoSite]:
        need_the_package_of(task)
        if task not in made:
            made[task] = build_demo(tmp_path_factory.mktemp(task), task)
        return made[task]

    return build


def lines(site: DemoSite) -> list[dict]:
    return [json.loads(line) for line in site.path.read_text(encoding="utf-8").splitlines()]


@TASKS
def test_the_files_are_the_same_every_time(built, task):
    files = sorted(site.path for site in built(task))
    assert hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest() == DIGESTS[task]


@pytest.mark.parametrize(("recipe", "task"), RECIPES.items())
def test_the_recipe_opens_with_the_commands_that_run_it(recipe, task):
    opening = (CONFIGS / recipe).read_text(encoding="utf-8").partition("name: ")[0]
    option = "" if task is DemoTask.CODING else f" --task {task}"
    directory = ".cache/demo" if task is DemoTask.CODING else f".cache/{task}"
    assert f"sealora-site demo-data {directory}{option}\n" in opening
    assert f"sealora simulate configs/{recipe} --out runs/" in opening
    paths = load_recipe(CONFIGS / recipe).sites.simulated.values()
    assert {Path(path).parent for path in paths} == {Path(directory)}


@pytest.mark.parametrize(("name", "task"), RECIPES.items())
def test_the_recipe_reads_every_record(built, name, task):
    recipe = load_recipe(CONFIGS / name)
    sites = built(task)
    assert {site.path.name for site in sites} == {Path(path).name for path in recipe.sites.simulated.values()}
    for site in sites:
        split = read_records(site.path, recipe.data)
        assert (len(split.train), len(split.heldout)) == (site.train, site.heldout)
        assert recipe.privacy.delta < 1 / site.train
        assert site.heldout >= min(32, recipe.data.heldout_limit)
        assert {against_recipe(record, recipe) for record in [*split.train, *split.heldout]} == {None}


@TASKS
def test_nothing_that_is_held_out_is_trained_on_anywhere(built, task):
    def shown(line: dict) -> str:
        return json.dumps({name: value for name, value in line.items() if name != "split"}).casefold()

    parts = {
        part: {shown(line) for site in built(task) for line in lines(site) if line["split"] == part}
        for part in ("train", "heldout")
    }
    assert not parts["train"] & parts["heldout"]


def test_hospitals_see_all_departments_and_their_own_most(built):
    labels = load_recipe(CONFIGS / "departments.yaml").data.labels
    for site in built(DemoTask.DEPARTMENTS):
        assert {(line["label"], line["department"]) for line in lines(site)} == set(labels.items())
        shares = {label: sum(line["label"] == label for line in lines(site)) / len(lines(site)) for label in labels}
        assert len(shares) == 12
        ranked = sorted(shares.values())
        assert ranked[0] > 0.001
        assert 0.94 < sum(ranked[-4:]) < 0.98


def test_preferences_are_between_names_of_one_category(built):
    import simple_icd_10_cm

    names = {simple_icd_10_cm.get_description(code): code for code in simple_icd_10_cm.get_descendants("9")}
    site = next(site for site in built(DemoTask.NEAR_CODES) if site.name == "heart-and-lung")
    pairs = [(names.get(line["chosen"]), names.get(line["rejected"])) for line in lines(site)]
    known = [(chosen, rejected) for chosen, rejected in pairs if chosen and rejected]
    assert len(known) > 100
    assert all(chosen[:3] == rejected[:3] and chosen != rejected for chosen, rejected in known)


def test_conversations_have_two_exchanges_or_three(built):
    for site in built(DemoTask.CONVERSATIONS):
        assert {len(line["messages"]) for line in lines(site)} == {4, 6}


def test_each_bank_has_its_languages_and_a_currency_its_code(built):
    by_site = {site.name: lines(site) for site in built(DemoTask.CURRENCIES)}
    assert {line["language"] for line in by_site["nordic-bank"]} == {"sv", "da", "nb", "fi"}
    codes = {line["prompt"]: line["response"] for line in by_site["alpine-bank"]}
    assert codes["Schweizer Franken"] == codes["franco svizzero"] == "CHF"


def test_without_babel_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("babel"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"babel, which is not installed: run pip install"):
        build_demo(tmp_path, DemoTask.CURRENCIES)


def test_banks_hear_of_all_matters_and_of_their_own_most(built):
    for site in built(DemoTask.SUPPORT):
        assert {line["desk"] for line in lines(site) if line["split"] == "train"} == set(PHRASINGS)
        counts = sorted(sum(line["desk"] == desk for line in lines(site)) for desk in PHRASINGS)
        assert 0.94 * sum(counts) < sum(counts[-4:]) < 0.98 * sum(counts)


def test_a_phrasing_is_in_one_part_with_its_places_filled(built):
    every = [line for site in built(DemoTask.SUPPORT) for line in lines(site)]
    assert len(every) == len({line["message"] for line in every}) == 12 * 25 * 40
    assert not any(set("{}") & set(line["message"]) or line["message"][0].islower() for line in every)
    for desk, phrasings in PHRASINGS.items():
        assert len(set(phrasings)) == 25
        for phrasing in phrasings:
            shape = ".+".join(re.escape(text) for text, *_ in string.Formatter().parse(phrasing))
            of_desk = [line for line in every if line["desk"] == desk]
            parts = {line["split"] for line in of_desk if re.search(shape, line["message"], re.IGNORECASE)}
            assert len(parts) == 1, phrasing
