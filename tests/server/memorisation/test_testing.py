"""A memorisation test at work: computed once, never mixed with another, told in figures, a page and a table."""

from __future__ import annotations

import html
import json
import re

import pytest
from linear_sites import recipe_of, write_recipe
from typer.testing import CliRunner

from sealora_common.errors import RecipeError, StorageError
from sealora_common.recipe import load_recipe
from sealora_server.cli import cli
from sealora_server.memorisation import testing
from sealora_server.memorisation.findings import Memorisation

NONE: dict[int, float] = {}
HALF = {1: 0.25, 4: 0.75}


def trained_by(sites) -> list[set[str]]:
    return [{order.recipe.privacy.mechanism for _, order in each.asked} for each in sites.made]


def test_three_arms_are_attacked_and_two_of_them_trained(run_test, leaking, tmp_path):
    sites = leaking(NONE, HALF, NONE)
    found, said = run_test(sites, recipe_of())
    assert [arm.kind for arm in found.arms] == ["base", "no-privacy", "federated"]
    assert "3 outcomes of 3 arms, 3 to compute" in said
    assert trained_by(sites) == [{"none", "local"}]
    assert sites.made[0].attacked == 3
    assert sorted(path.name for path in (tmp_path / "out" / "outcomes").iterdir()) == [
        "base-seed-0.json", "federated-seed-0.json", "no-privacy-seed-0.json"
    ]  # fmt: skip


def test_a_recipe_without_privacy_is_its_own_control(run_test, leaking):
    found, _ = run_test(leaking(NONE, HALF), recipe_of(privacy={"mechanism": "none"}))
    assert [arm.kind for arm in found.arms] == ["base", "federated"]
    assert found.of_control is found.of_recipe
    assert (found.epsilon, found.of_recipe.repeats[0].allowed_told) == (None, None)


def test_what_is_there_is_not_computed_again_and_seeds_are_added_with_persons_of_their_own(run_test, leaking):
    first, _ = run_test(leaking(NONE, HALF, NONE), recipe_of())
    again = leaking(NONE)
    found, said = run_test(again, recipe_of())
    assert found == first
    assert "0 to compute" in said
    assert [(each.asked, each.attacked) for each in again.made] == [([], 0)]
    more = leaking(NONE, HALF, NONE)
    found, said = run_test(more, recipe_of(), seeds=2)
    assert "6 outcomes of 3 arms, 3 to compute" in said
    assert [(each.planting.seed, each.attacked) for each in more.made] == [(0, 0), (1, 3)]
    assert found.of_control.told.planted.of == 2 * first.of_control.told.planted.of
    assert found.seeds == (0, 1)


def test_one_that_was_interrupted_goes_on_before_the_arm_in_which_it_was(run_test, leaking, tmp_path):
    sites = leaking(NONE, HALF, NONE)
    plain = sites.planted

    def planted(recipe, planting):
        made = plain(recipe, planting)
        attack = made.attack

        def interrupted(adapter):
            if made.attacked == 2:
                raise KeyboardInterrupt
            return attack(adapter)

        made.attack = interrupted
        return made

    sites.planted = planted
    with pytest.raises(KeyboardInterrupt):
        run_test(sites, recipe_of())
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.json")) == [
        "base-seed-0.json", "no-privacy-seed-0.json"
    ]  # fmt: skip
    later = leaking(NONE)
    _, said = run_test(later, recipe_of())
    assert "1 to compute" in said
    assert later.made[0].attacked == 1


@pytest.mark.parametrize("case", ["recipe", "records", "secrets", "repeats", "candidates"])
def test_outcomes_of_anything_else_are_refused_and_left_as_they_are(run_test, leaking, tmp_path, case):
    run_test(leaking(NONE, HALF, NONE), recipe_of())
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    other = {"secrets": {"secrets": 32}, "repeats": {"repeats": (1, 8)}, "candidates": {"candidates": 3}}
    with pytest.raises(StorageError, match=r"out holds a memorisation test with other --secrets, .* or one of another"):
        run_test(
            leaking(NONE, digest="others" if case == "records" else "records"),
            recipe_of(rounds=4) if case == "recipe" else recipe_of(),
            **other.get(case, {}),
        )
    assert {path: path.read_bytes() for path in before} == before


def test_a_directory_of_a_comparison_or_a_run_is_not_written_into(run_test, leaking, tmp_path):
    outcome = tmp_path / "out" / "outcomes" / "base-seed-0.json"
    outcome.parent.mkdir(parents=True)
    outcome.write_text(json.dumps({"subject": "0" * 64, "arm": "base", "seed": 0, "rounds": 0, "sites": []}))
    with pytest.raises(StorageError, match="holds a memorisation test with other"):
        run_test(leaking(NONE), recipe_of())
    outcome.unlink()
    (tmp_path / "out" / "run.json").write_text("{}")
    with pytest.raises(StorageError, match="out holds a run"):
        run_test(leaking(NONE), recipe_of())
    assert (tmp_path / "out" / "run.json").read_text() == "{}"


def test_a_damaged_outcome_is_told_by_its_name(run_test, leaking, tmp_path):
    run_test(leaking(NONE, HALF, NONE), recipe_of())
    path = tmp_path / "out" / "outcomes" / "federated-seed-0.json"
    whole = json.loads(path.read_text())
    for damaged in ("{", json.dumps({name: whole[name] for name in ("subject", "arm", "seed")})):
        path.write_text(damaged)
        with pytest.raises(StorageError, match=r"federated-seed-0\.json: cannot be read .* delete it, and it is"):
            run_test(leaking(NONE), recipe_of())


@pytest.mark.parametrize(("recipe", "options", "said"), [
    (recipe_of(continue_from="0" * 64), {}, "continue_from is set"),
    (recipe_of(sealing={"groups": 3}, sites={"minimum": 9, "simulated": {"a": "a", "b": "b"}}), {}, "sealing.groups"),
    (recipe_of(), {"repeats": (1, 4, 1)}, "--repeats names 1 twice"),
    (recipe_of(), {"secrets": 11}, "--secrets is 11: with 2 numbers of repeats fewer than 12 say nothing"),
    (recipe_of(), {"secrets": 15, "repeats": (1, 2, 3, 4)}, "fewer than 16 say nothing"),
])  # fmt: skip
def test_what_cannot_be_tested_is_refused_before_anything_is_read(run_test, leaking, recipe, options, said):
    sites = leaking(NONE)
    with pytest.raises(RecipeError, match=re.escape(said)):
        run_test(sites, recipe, **options)
    assert sites.made == []


def test_the_figures_are_in_one_file_the_recipe_beside_them_and_none_is_for_others_to_read(run_test, leaking, tmp_path):
    found, _ = run_test(leaking(NONE, HALF, NONE), recipe_of())
    out = tmp_path / "out"
    assert Memorisation.model_validate_json((out / "memorisation.json").read_text()) == found
    assert load_recipe(out / "recipe.yaml").hash == found.recipe_hash != found.recipe_hash_as_given
    assert found.recipe_hash_as_given == recipe_of().hash
    assert {path.stat().st_mode & 0o077 for path in out.rglob("*.*")} == {0}


def test_the_table_has_every_arm_and_attack_and_the_verdict(run_test, leaking):
    found, said = run_test(leaking(NONE, HALF, NONE), recipe_of())
    flat = " ".join(said.split())
    for name in ("told by name", "ended to the letter", "the likeliest", "exposure (bits)", "membership (AUC)"):
        assert flat.count(name) == 3
    assert re.search(r"told by name +12 of 24 +0 of 24 +\+50\.0 \(\+\d\d\.\d to \+\d\d\.\d\)", said)
    for sentence in (found.verdict, *found.notes, found.simulated):
        assert " ".join(sentence.split()) in flat


@pytest.mark.parametrize(("private", "status"), [(NONE, 0), ({1: 0.5, 4: 1.0}, 1)])
def test_the_command_ends_with_1_where_planted_data_came_out(monkeypatch, leaking, tmp_path, private, status):
    sites = leaking(NONE, HALF, private)
    monkeypatch.setattr(testing, "simulated_sites", lambda: sites)
    path = write_recipe(tmp_path, recipe_of())
    words = ["memorisation", str(path), "--secrets", "24", "--repeats", "1", "--repeats", "4", "--candidates", "7"]
    done = CliRunner().invoke(cli, [*words, "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == status
    told = json.loads((tmp_path / "out" / "memorisation.json").read_text())
    assert told["standing"] == ("more extracted" if status else "no more extracted")
    assert json.loads(done.stdout) == told


def test_the_page_needs_nothing_but_itself_and_shows_what_the_figures_say(run_test, leaking, tmp_path):
    found, _ = run_test(leaking(NONE, HALF, NONE), recipe_of(model={"base": "<b>x</b>"}))
    page = (tmp_path / "out" / "memorisation.html").read_text(encoding="utf-8")
    said = html.unescape(page)
    assert page.count("<svg") == 1
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    assert "<script" not in page
    assert "<b>x" not in page
    assert found.verdict in said
    assert found.simulated in said
    bars = re.findall(r'<rect class="bar (up|down)" .* height="([\d.]+)"><title>([^<]+)', page)
    assert [style for style, _, _ in bars] == ["up", "down"] * 3
    heights = {text.split(":")[0]: float(height) for style, height, text in bars}
    assert heights["federated, no privacy, planted"] == pytest.approx(106, abs=0.1)  # a half of the axis
    assert heights["federated, planted"] == 0
    assert page.count("12 of 24") >= 3
