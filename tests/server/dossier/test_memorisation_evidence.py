"""A memorisation test in a dossier: of the same recipe, each figure from its field, and judged by what it came to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sealora_common.dossier.server_part import Dossier
from sealora_common.errors import PolicyError
from sealora_common.recipe import Recipe
from sealora_common.records.attacks.memorisation import AttackedAdapter, Planting, SecretFound
from sealora_common.records.audits import RocSummary
from sealora_server.cli import cli
from sealora_server.comparison.arms import arms_of
from sealora_server.dossier.write import write_dossier
from sealora_server.memorisation.conclusions import AttackedArm, memorisation_of
from sealora_server.memorisation.outcome import AttackOutcome

from dossier_runs import check, fingerprint_of
from tiny_federation import recipe_of, typed

PLANTING = Planting(secrets=24, repeats=(1, 4), candidates=7, seed=0)
WITHOUT = "No memorisation test of this recipe was handed in."


def attacked(told: int) -> AttackedAdapter:
    def one(place: int, repeats: int) -> SecretFound:
        is_told = repeats > 0 and place < told
        return SecretFound(
            kind="name", site="site-0" if repeats else None, repeats=repeats, space=10**6, gain=0.0,
            rank=1 + place % 8, continued=is_told, told=is_told,
        )  # fmt: skip

    return AttackedAdapter(
        planted=tuple(one(place, (1, 4)[place % 2]) for place in range(24)),
        held_back=tuple(one(place, 0) for place in range(24)),
        wordings=2, unasked=8, unasked_planted=0, unasked_held_back=0,
    )  # fmt: skip


def separation(members, others) -> RocSummary:
    return RocSummary(
        auc=0.5, auc_interval=(0.4, 0.6), true_positive_rate=None, true_positive_interval=None,
        members=24, non_members=24, curve=((0.0, 0.0), (1.0, 1.0)),
    )  # fmt: skip


def write_test(to: Path, recipe: Recipe, plain: int = 12, private: int = 0) -> Path:
    """`memorisation.json` in which so many of 24 were told without privacy and with it."""
    told = {"base": 0, "no-privacy": plain, "federated": private}
    arms = [
        AttackedArm(arm, (AttackOutcome(subject="", arm=arm.key, seed=0, rounds=2, seconds=1.0,
                                        found=attacked(told[arm.kind])),))
        for arm in arms_of(recipe, {"site-0": 24, "site-1": 25, "site-2": 26})
        if arm.kind in told
    ]  # fmt: skip
    without = recipe.model_copy(update={"model": recipe.model.model_copy(update={"digest": None})})
    found = memorisation_of(recipe, without, PLANTING, ("site-0", "site-1", "site-2"), "site-2", arms, separation)
    to.write_text(found.model_dump_json(indent=2))
    return to


def dossier_with(run: Path, out: Path, test: Path | None) -> Dossier:
    return write_dossier(run, out, memorisation=test, licence="apache-2.0")[0]


def test_its_figures_stand_in_the_dossier_each_with_its_field_and_the_script_finds_them_there(private_run, tmp_path):
    test = write_test(tmp_path / "memorisation.json", recipe_of(private_run))
    told = dossier_with(private_run, tmp_path / "d", test)
    section = next(each for each in told.sections if each.identifier == "memorisation")
    figures = {figure.name: figure for figure in section.figures}
    assert figures["what it came to"].value == "no more extracted"
    assert figures["federated, no privacy: told by name, of planted data"].value == 0.5
    assert figures["federated: told by name, of planted data"].value == 0.0
    assert {figure.source.file for figure in section.figures} == {"evidence/memorisation.json"}
    assert all("made-up records" in figure.noise for figure in section.figures)
    assert (tmp_path / "d" / "evidence" / "memorisation.json").read_bytes() == test.read_bytes()
    status, said = check(tmp_path / "d", fingerprint_of(tmp_path / "d"))
    assert status == 0, said
    assert WITHOUT not in told.clearance.open_points
    assert not told.clearance.against
    assert "0.5" in (tmp_path / "d" / "dossier.html").read_text()
    assert "## Memorisation" in (tmp_path / "d" / "model-card" / "README.md").read_text()


def test_a_changed_copy_of_it_is_found(private_run, tmp_path):
    dossier_with(private_run, tmp_path / "d", write_test(tmp_path / "m.json", recipe_of(private_run)))
    copy = tmp_path / "d" / "evidence" / "memorisation.json"
    copy.write_text(copy.read_text().replace("no more extracted", "more extracted"))
    status, said = check(tmp_path / "d", fingerprint_of(tmp_path / "d"))
    assert status != 0
    assert "memorisation.json" in said


def test_the_command_takes_it(private_run, tmp_path):
    test = write_test(tmp_path / "m.json", recipe_of(private_run))
    said = typed(cli, "dossier", private_run, "--out", tmp_path / "d", "--memorisation", test)
    assert said.startswith("NOT YET CLEARED")
    assert "memorisation" not in said.lower()


def demand(told: Dossier, word: str):
    answers = [answer for framework in told.frameworks for answer in framework.answers]
    return next(answer for answer in answers if word in answer.demand)


def test_demands_on_regurgitation_are_met_in_part_with_it_and_not_without(written, private_run, tmp_path):
    told = dossier_with(private_run, tmp_path / "d", write_test(tmp_path / "m.json", recipe_of(private_run)))
    without = Dossier.model_validate_json((written / "dossier.json").read_bytes())
    for word in ("regurgitation", "attribute inference"):
        assert (demand(told, word).status, demand(told, word).where) == ("in part", ("memorisation",))
        assert demand(without, word).status == "not met"
        assert "No memorisation test of this recipe is here." in demand(without, word).remark
    assert WITHOUT in without.clearance.open_points
    section = next(each for each in without.sections if each.identifier == "memorisation")
    assert section.figures == ()
    assert "nobody has tried" in section.text[0]


@pytest.mark.parametrize(("plain", "private", "said"), [
    (12, 12, "The memorisation test got planted personal data out of a model of this recipe."),
    (2, 0, "The memorisation test was too weak to say anything."),
])  # fmt: skip
def test_what_it_came_to_is_judged(private_run, tmp_path, plain, private, said):
    test = write_test(tmp_path / "m.json", recipe_of(private_run), plain, private)
    clearance = dossier_with(private_run, tmp_path / "d", test).clearance
    assert said in (clearance.against if private else clearance.open_points)
    assert clearance.first_line.startswith("NOT CLEARED" if private else "NOT YET CLEARED")


def test_that_of_a_recipe_without_the_model_s_digest_is_of_the_same_recipe(private_run, tmp_path):
    test = write_test(tmp_path / "m.json", recipe_of(private_run))
    held = json.loads(test.read_text())
    held["recipe_hash"], held["recipe_hash_as_given"] = "0" * 64, held["recipe_hash"]
    test.write_text(json.dumps(held))
    assert dossier_with(private_run, tmp_path / "d", test).sections


def test_what_is_none_or_of_another_recipe_is_refused_and_nothing_is_written(private_run, tmp_path):
    other = recipe_of(private_run).model_copy(update={"rounds": 7})
    test = write_test(tmp_path / "m.json", other)
    cases = {tmp_path / "nowhere.json": "cannot be read", test: "is the test of another recipe"}
    held = json.loads(write_test(tmp_path / "n.json", recipe_of(private_run)).read_text())
    untidy = ("{", "[]", json.dumps(held | {"arms": []}), json.dumps({name: held[name] for name in ("recipe",)}))
    for number, text in enumerate(untidy):
        path = tmp_path / f"untidy-{number}.json"
        path.write_text(text)
        cases[path] = r"is no memorisation\.json of `sealora memorisation`: give that file"
    for path, said in cases.items():
        with pytest.raises(PolicyError, match=said):
            dossier_with(private_run, tmp_path / "d", path)
    assert not (tmp_path / "d").exists()
