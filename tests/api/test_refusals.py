"""Arguments of the wrong kind, names that are none, directories that are taken: one sentence, and nothing is left."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import sealora
from sealora.at_work import without_options
from sealora.frames import data_frame

MINE = {"north": [{"prompt": "a", "response": "b"}]}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda r: sealora.load_recipe(7), "recipe is a int"),
        (lambda r: sealora.load_recipe("none.yaml"), "none.yaml: no such recipe"),
        (lambda r: sealora.load_recipe(r | {"round": 3}), "round: unknown key, did you mean 'rounds'"),
        (lambda r: sealora.load_recipe(r, ["rounds=3"]), "overrides is a list"),
        (lambda r: sealora.load_recipe(r, {"rounds": 0}), "rounds: 0 will not do"),
        (lambda r: sealora.load_recipe(r, {"rounds.x": 0}), "'rounds' is a value, not a section"),
        (lambda r: sealora.load_recipe({1: 2}), "recipe has the key 1"),
        (lambda r: sealora.simulate(r, [MINE]), "records is a list"),
        (lambda r: sealora.simulate(r, {1: []}), "records has the key 1"),
        (lambda r: sealora.simulate(r, MINE, progress="yes"), "progress is 'yes'"),
        (lambda r: sealora.simulate(r, MINE, out=7), "out is 7"),
        (lambda r: sealora.simulate(r, MINE, resume=True), "name it with out"),
        (lambda r: sealora.simulate(r, MINE, resume=True, out="x"), "x: there is no run to go on with"),
        (lambda r: sealora.simulate(r, MINE, continue_from=7), "continue_from is 7"),
        (lambda r: sealora.simulate(r, {"../../evil": MINE["north"]}), r"sites.simulated.*\.\./\.\./evil"),
        (lambda r: sealora.simulate(r, {"Ward 7": MINE["north"]}), "sites.simulated.*Ward 7"),
        (lambda r: sealora.simulate(r, MINE), "names 1 sites, sites.minimum is 3"),
        (lambda r: sealora.simulate(r, dict.fromkeys("abc", "absent.jsonl")), "absent.jsonl"),
        (lambda r: sealora.simulate(r, {name: [{"prompt": "a"}] for name in "abc"}), "response"),
        (lambda r: sealora.compare(r, MINE, seeds=0), "seeds is 0"),
        (lambda r: sealora.compare(r, MINE, seeds=True), "seeds is True"),
        (lambda r: sealora.compare(r, MINE, only="base"), "only is 'base'"),
        (
            lambda r: sealora.compare(r, dict.fromkeys("abc", MINE["north"]), only=["best"]),
            "only: there is no arm 'best'",
        ),
        (lambda r: sealora.plan(r, "many"), "records is a str"),
        (lambda r: sealora.plan(r, [10, 0]), "records is 0"),
        (lambda r: sealora.plan(r, {"a": 10, "b": 2.5}), "records of site b is 2.5: give a whole number"),
        (lambda r: sealora.plan(r, 10, sites=2.5), "sites is 2.5"),
        (sealora.plan, "records: sites.simulated names no files to count"),
        (lambda r: sealora.read_run("absent"), "no run has started there"),
        (lambda r: sealora.load_adapter("absent"), "there is no such directory"),
        (lambda r: sealora.load_adapter(None), "run is None"),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence_and_leaves_nothing(call, why, sections):
    with pytest.raises(sealora.SealoraError, match=why) as told:
        call(sections)
    assert "--" not in str(told.value)
    assert "\n" not in str(told.value)
    left = [path for path in Path().rglob("*") if path.is_file()]
    assert [path for path in left if path.parts[0] != "runs" or "compare" not in path.parts[1]] == []


def test_a_directory_with_something_in_it_is_left_as_it_is(sections, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("ten years")
    with pytest.raises(sealora.SealoraError, match="mine is not empty: choose another directory with out"):
        sealora.simulate(sections, MINE, out="mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "ten years"


def test_a_mapping_is_left_as_it_was_and_paths_and_numpy_s_numbers_are_taken(sections):
    import numpy as np

    before = repr(sections)
    recipe = sealora.load_recipe(sections, {"privacy.epsilon": np.float64(2.5), "rounds": np.int64(7)})
    assert repr(sections) == before
    assert (recipe.privacy.epsilon, recipe.rounds) == (2.5, 7)
    assert recipe.model.base == str(sections["model"]["base"])
    again = sealora.load_recipe(recipe, {"rounds": 2, "privacy.epsilon": 1e-05 * 1e5})
    assert (again.rounds, again.privacy.epsilon) == (2, 1.0)
    assert sealora.load_recipe(recipe) is recipe


def test_sentences_of_commands_are_told_in_words_of_python():
    said = without_options("choose another --out, add --resume to go on with it, or give --parameters; not --outer")
    assert said == "choose another out, add resume=True to go on with it, or give parameters; not --outer"


def test_without_pandas_a_frame_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(sealora.SealoraError, match="takes pandas, which is not installed: pip install pandas"):
        data_frame([], {"a": ""})
