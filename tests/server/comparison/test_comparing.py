"""A comparison at work: taken up where it stopped, never mixed with another, told in figures, a page and a table."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from linear_sites import LinearSites, SimulatedLinearSites, recipe_of

from sealora_common.errors import RecipeError, StorageError
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.show.console import SafeConsole
from sealora_server.comparison import comparing
from sealora_server.comparison.comparing import Comparing
from sealora_server.comparison.comparison import Comparison
from sealora_server.comparison.page import print_comparison

ROUNDS, SITES = 3, 3


@pytest.fixture
def compare(monkeypatch, tmp_path):
    """`compare(sites, ...)`: the comparison, and what it said."""

    def run(sites: LinearSites, recipe: Recipe | None = None, seeds: int = 2, only: tuple[str, ...] = ()):
        monkeypatch.setattr(comparing, "simulated_sites", lambda: SimulatedLinearSites(sites))
        console = SafeConsole(file=io.StringIO(), width=120)
        found = Comparing(recipe or recipe_of(), tmp_path / "out", seeds, only).run(console)
        print_comparison(found, tmp_path / "out", console)
        return found, console.file.getvalue()

    return run


def test_every_arm_under_every_seed_is_computed_once_and_kept(compare, tmp_path):
    sites = LinearSites(spread=1.0)
    found, said = compare(sites)
    assert "13 outcomes of 7 arms, 13 to compute" in said
    names = {path.name for path in (tmp_path / "out" / "outcomes").iterdir()}
    assert len(names) == 13
    assert {"base-seed-0.json", "alone-a-seed-1.json", "pooled-seed-1.json"} <= names
    assert len(sites.asked) == 2 * ROUNDS * (SITES + 1 + 2 * SITES)
    again = LinearSites(spread=1.0)
    assert compare(again)[0] == found
    assert (again.asked, again.measured) == ([], 0)
    more, said = compare(again, seeds=3)
    assert "19 outcomes of 7 arms, 6 to compute" in said
    assert len(again.asked) == ROUNDS * (SITES + 1 + 2 * SITES)
    assert [arm.figures[:2] for arm in more.arms[1:]] == [arm.figures for arm in found.arms[1:]]


def test_one_that_was_interrupted_in_the_middle_of_an_arm_goes_on_before_that_arm(compare, tmp_path):
    class Interrupted(LinearSites):
        def answer(self, party, order, adapter):
            if party == ("b",) and order.number == 2:
                raise KeyboardInterrupt
            return super().answer(party, order, adapter)

    with pytest.raises(KeyboardInterrupt):
        compare(Interrupted())
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.json")) == [
        "alone-a-seed-0.json",
        "base-seed-0.json",
    ]
    found, said = compare(LinearSites())
    assert "11 to compute" in said
    (tmp_path / "out").rename(tmp_path / "former")
    whole, _ = compare(LinearSites())
    assert [arm.figures for arm in found.arms] == [arm.figures for arm in whole.arms]


@pytest.mark.parametrize("case", ["recipe", "records", "version"])
def test_outcomes_of_anything_else_are_refused_and_left_as_they_are(compare, tmp_path, monkeypatch, case):
    compare(LinearSites(), seeds=1)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    recipe = recipe_of(rounds=4) if case == "recipe" else recipe_of()
    if case == "version":
        monkeypatch.setattr("sealora_server.comparison.outcome.__version__", "0.0.0")
    with pytest.raises(StorageError, match="another recipe, of other records or by another version: choose another"):
        compare(LinearSites("others" if case == "records" else "records"), recipe, seeds=1)
    assert {path: path.read_bytes() for path in before} == before


def test_a_directory_never_holds_two_comparisons_nor_overwrites_a_run(compare, tmp_path):
    compare(LinearSites(), only=("alone",))
    with pytest.raises(StorageError, match="holds a comparison of another recipe"):
        compare(LinearSites(), recipe_of(rounds=4), only=("pooled",))
    (tmp_path / "out").rename(tmp_path / "former")
    (tmp_path / "out").mkdir()
    for name in ("run.json", "recipe.yaml"):
        (tmp_path / "out" / name).write_text("of the run")
    with pytest.raises(StorageError, match="out holds a run, whose recipe would be overwritten: choose another --out"):
        compare(LinearSites())
    assert (tmp_path / "out" / "recipe.yaml").read_text() == "of the run"


def test_a_damaged_outcome_is_told_by_its_name(compare, tmp_path):
    compare(LinearSites(), seeds=1)
    (tmp_path / "out" / "outcomes" / "pooled-seed-0.json").write_text("{")
    with pytest.raises(StorageError, match=r"pooled-seed-0\.json: cannot be read .* delete it, and it is"):
        compare(LinearSites(), seeds=1)


def test_only_some_arms(compare):
    sites = LinearSites()
    found, _ = compare(sites, only=("federated", "alone-b"))
    assert [arm.key for arm in found.arms] == ["alone-b", "federated"]
    assert {order.recipe.privacy.mechanism for _, order in sites.asked} == {"none", "local"}
    assert len(sites.asked) == 2 * ROUNDS * (1 + SITES)
    assert [arm.key for arm in compare(sites, only=("alone",))[0].arms] == ["alone-a", "alone-b", "alone-c"]


@pytest.mark.parametrize(("recipe", "only", "said"), [
    (recipe_of(), ("alone-d",), "--only: there is no arm 'alone-d' of this recipe: choose from alone, base, alone-a"),
    (recipe_of(privacy={"mechanism": "none"}), ("no-privacy",), "there is no arm 'no-privacy'"),
    (recipe_of(continue_from="0" * 64), (), "continue_from is set"),
    (recipe_of(sealing={"groups": 3}, sites={"minimum": 9, "simulated": {"a": "a", "b": "b"}}), (), "sealing.groups"),
])  # fmt: skip
def test_what_cannot_be_compared_is_refused_before_anything_is_read(compare, recipe, only, said):
    sites = LinearSites()
    with pytest.raises(RecipeError, match=re.escape(said)):
        compare(sites, recipe, only=only)
    assert sites.measured == 0


def test_the_figures_are_in_one_file_and_the_recipe_beside_them(compare, tmp_path):
    found, _ = compare(LinearSites())
    assert Comparison.model_validate_json((tmp_path / "out" / "comparison.json").read_text()) == found
    assert load_recipe(tmp_path / "out" / "recipe.yaml").hash == found.recipe_hash
    told = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert "nothing of it is a release" in told["simulated"]
    assert told["margin"]["sentence"]


def test_the_table_has_every_arm_and_what_follows(compare):
    found, said = compare(LinearSites())
    for arm in found.arms:
        assert re.search(rf"^ {re.escape(arm.title)} +{arm.mean:.3f} ", said, re.MULTILINE), arm.title
    assert found.margin is not None
    assert found.share_of_way is not None
    for told in (found.margin.sentence, found.share_of_way.sentence, found.simulated):
        assert told in said.replace("\n", " ")
    assert "comparison.html" in said


def test_the_page_needs_nothing_but_itself_and_shows_every_arm(compare, tmp_path):
    found, _ = compare(LinearSites(spread=1.0))
    page = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 1
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    assert "<script" not in page
    for arm in found.arms:
        assert page.count(arm.title) >= 4
    dots = re.findall(r'<circle class="dot ([\w-]+)" cx="([\d.]+)"', page)
    assert len(dots) == len(found.arms)
    places, means = [float(x) for _, x in dots], [arm.mean or 0.0 for arm in found.arms]
    slope, start = np.polyfit(means, places, 1)
    assert slope > 0
    np.testing.assert_allclose(slope * np.array(means) + start, places, atol=0.1)  # to a tenth of a pixel
    assert found.margin is not None
    assert found.margin.sentence in page
    assert "nothing of it is a release" in page


def test_a_page_of_names_that_are_markup_is_text(compare, tmp_path):
    compare(LinearSites(), recipe_of(model={"base": "<b>x</b>"}))
    page = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert "<b>x" not in page
    assert "&lt;b&gt;x" in page


def test_a_comparison_in_which_all_has_diverged_is_told_all_the_same(compare, tmp_path):
    found, said = compare(LinearSites(diverged="a"), only=("federated", "pooled"))
    assert [arm.mean for arm in found.arms] == [None, None]
    assert said.count("diverged") >= 4
    assert "<svg" not in (tmp_path / "out" / "comparison.html").read_text()
