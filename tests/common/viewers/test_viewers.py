"""Who sees what: by what a recipe says, and the same in README, in every report and in the picture's lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealora_common.recipe import Recipe, load_recipe, parse_recipe
from sealora_common.viewers.picture import viewer_pictures
from sealora_common.viewers.viewers import Viewer, viewers

PROJECT = Path(__file__).parents[3]
DEMO = PROJECT / "configs" / "triage.yaml"


def recipe_with(privacy: str, rest: str = "") -> Recipe:
    return parse_recipe(f"name: r\nrounds: 2\nmodel: {{base: m}}\nprivacy: {privacy}\n{rest}")


def seen(recipe: Recipe, *, insecure: bool = False) -> dict[str, Viewer]:
    return {each.place: each for each in viewers(recipe, insecure=insecure)}


def test_the_readme_s_table_is_what_the_demo_s_recipe_says() -> None:
    readme = (PROJECT / "README.md").read_text()
    rows = [f"| **{each.name}** | {each.sees} | {each.unseen} |" for each in viewers(load_recipe(DEMO))]
    assert "\n".join(["| | sees | cannot see |", "|---|---|---|", *rows, ""]) in readme


def test_without_privacy_nothing_hides_a_record_from_the_adapter_s_reader_nor_a_sum_from_the_server() -> None:
    found = seen(recipe_with("{mechanism: none}"))
    assert "there is no differential privacy" in found["adapter"].unseen
    assert "epsilon" not in found["adapter"].unseen
    assert "the sum of the deltas, without noise, a mean held-out figure without noise" in found["server"].sees


def test_the_promise_has_the_recipe_s_own_numbers_and_unit() -> None:
    found = seen(recipe_with("{epsilon: 3.5, delta: 1.0e-6}", "data: {person_field: patient}"))
    assert (
        found["adapter"].unseen
        == "whether any one person was trained on, up to epsilon 3.5 and delta 1e-06 at each site"
    )


def test_the_fewest_survivors_and_groups_are_the_recipe_s() -> None:
    assert seen(recipe_with("{}"))["server"].unseen.endswith("a sum of fewer than 3")
    found = seen(recipe_with("{}", "sealing: {min_survivors: 5, groups: 4}\nsites: {minimum: 20}"))
    assert found["server"].unseen.endswith("a sum of fewer than 5")
    assert "within each of 4 groups of sites" in found["server"].sees


@pytest.mark.parametrize("place", ["site", "network", "server", "adapter"])
def test_a_run_whose_randomness_was_seeded_promises_nobody_anything(place: str) -> None:
    assert "seeded for a test" in seen(recipe_with("{}"), insecure=True)[place].unseen


def test_both_pictures_say_every_word_of_it_once_and_in_order() -> None:
    everybody = viewers(load_recipe(DEMO))
    words = [
        word
        for each in everybody
        for text in (each.name[0].upper() + each.name[1:], "sees", each.sees, "cannot see", each.unseen)
        for word in text.split()
    ]
    for picture in viewer_pictures(everybody):
        assert [word for text in picture.texts if text.style != "way" for word in text.text.split()] == words
        assert all(each.sees in picture.description and each.unseen in picture.description for each in everybody)
        assert [box.place for box in picture.boxes] == ["site", "network", "server", "adapter"]
        assert len(picture.arrows) == 3
