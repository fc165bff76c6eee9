"""What is concluded from outcomes: differences with their uncertainty, the margin, the share of the way, remarks."""

from __future__ import annotations

import math
from statistics import fmean, stdev

import numpy as np
import pytest
from linear_sites import HELDOUT, UNITS, LinearSites, recipe_of

from sealora_common.recipe import Recipe
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_server.comparison.arms import arms_of
from sealora_server.comparison.conclusions import JudgedArm, comparison_of
from sealora_server.comparison.outcome import ArmOutcome, SiteOutcome
from sealora_server.comparison.uncertainty import difference


def outcome(arm: str, seed: int, figures: list[float | None], values: list[list[float]] | None = None) -> ArmOutcome:
    """Of sites a, b and c; every record has its site's figure unless values are given."""
    values = values or [[figure or 0.0] * count for figure, count in zip(figures, HELDOUT.values(), strict=True)]
    sites = tuple(
        SiteOutcome(site=name, figure=figure, by_unit=tuple(own))
        for name, figure, own in zip(HELDOUT, figures, values, strict=True)
    )
    return ArmOutcome(subject="s", arm=arm, seed=seed, rounds=3, kept_round=3, norms=(), seconds=1.0, sites=sites)


def compared(recipe: Recipe, seeds: int = 1, sites: LinearSites | None = None, **figures: list[float | None] | float):
    """The comparison of arms whose figure is the same at each site; one figure for each seed, or one for all."""
    found = []
    for arm in arms_of(recipe, UNITS):
        own = figures.get(arm.key.replace("-", "_"))
        if own is None:
            continue
        count = seeds if arm.is_seeded else 1
        told = own if isinstance(own, list) else [own] * count
        found.append(JudgedArm(arm, tuple(outcome(arm.key, n, [figure] * 3) for n, figure in enumerate(told))))
    return comparison_of(recipe, sites or LinearSites(), range(seeds), found)


SHARES = {
    "objective": {"kind": "classification"},
    "data": {"layout": "labelled", "labels": {"0": "no", "1": "yes"}},
    "evaluation": {"metric": "accuracy"},
}
ALONE = {"alone_a": 3.0, "alone_b": 2.5, "alone_c": 2.8}


def test_a_difference_s_uncertainty_is_student_s_t_over_paired_seeds_and_the_records_in_quadrature():
    generator = np.random.default_rng(5)
    one, other, gaps = [], [], []
    for seed in range(4):
        values = [generator.normal(size=count).tolist() for count in HELDOUT.values()]
        others = [generator.normal(size=count).tolist() for count in HELDOUT.values()]
        one.append(outcome("x", seed, [fmean(own) for own in values], values))
        other.append(outcome("y", seed, [fmean(own) for own in others], others))
        gaps.append(fmean(fmean(a) - fmean(b) for a, b in zip(values, others, strict=True)))
    found = difference(one, other)
    assert found.value == pytest.approx(fmean(gaps))
    assert found.by_seeds == pytest.approx(3.1824 * stdev(gaps) / 2, rel=1e-4)  # t of 3 degrees of freedom
    squares = 0.0
    for place, count in enumerate(HELDOUT.values()):
        of_record = [
            fmean(one[s].sites[place].by_unit[u] - other[s].sites[place].by_unit[u] for s in range(4))
            for u in range(count)
        ]
        squares += stdev(of_record) ** 2 / count
    assert found.by_records == pytest.approx(1.96 * math.sqrt(squares) / 3, rel=1e-4)
    assert found.uncertainty == pytest.approx(math.hypot(found.by_seeds or 0, found.by_records or 0))


def test_what_both_arms_share_of_a_seed_and_of_a_record_is_no_uncertainty():
    shared = [[float(u) for u in range(count)] for count in HELDOUT.values()]
    better = [[value - 1.0 for value in own] for own in shared]
    one = [outcome("x", seed, [5.0 + seed] * 3, better) for seed in range(3)]
    other = [outcome("y", seed, [6.0 + seed] * 3, shared) for seed in range(3)]
    found = difference(one, other)
    assert (found.value, found.uncertainty, found.is_told_apart) == (-1.0, 0.0, True)


def test_one_outcome_stands_for_all_seeds():
    one = [outcome("x", seed, [float(seed)] * 3) for seed in range(3)]
    assert difference(one, [outcome("base", 0, [7.0] * 3)]).value == pytest.approx(-6.0)


def test_records_say_nothing_of_uncertainty_where_a_site_holds_out_one_or_a_value_is_no_number():
    single = [outcome("x", 0, [1.0] * 3, [[1.0], [1.0, 1.0], [1.0, 1.0]])]
    assert difference(single, single).uncertainty is None
    whole = outcome("x", 0, [1.0] * 3, [[1.0, 2.0]] * 3)
    broken = outcome("x", 1, [1.0] * 3, [[1.0, math.inf], [1.0, 2.0], [1.0, 2.0]])
    assert difference([whole], [whole]).by_records == 0.0
    assert difference([whole, broken], [whole, whole]).by_records is None
    with pytest.raises(ValueError, match="diverged"):
        difference([outcome("x", 0, [None, 1.0, 1.0])], single)


def test_the_margin_is_over_the_best_site_alone_and_is_named_in_words():
    found = compared(recipe_of(), 3, federated=[1.0, 1.2, 1.1], **ALONE)
    margin = found.margin
    assert margin is not None
    assert margin.best_alone == "alone-b"
    assert margin.value == pytest.approx(-1.4)
    assert margin.uncertainty == pytest.approx(4.3027 * 0.1 / math.sqrt(3), rel=1e-4)
    assert margin.sentence == (
        "Federated minus the best site alone (b alone) is -1.400 ± 0.248 nats a token (95 %): federating is better."
    )
    worse = compared(recipe_of(), 3, federated=[3.0, 3.2, 3.1], **ALONE).margin
    assert worse is not None
    assert worse.sentence.endswith("federating is worse.")


def test_a_margin_within_its_uncertainty_is_said_to_be_none():
    margin = compared(recipe_of(), 3, federated=[2.3, 2.7, 2.4], **ALONE).margin
    assert margin is not None
    assert not margin.is_told_apart
    assert margin.sentence.startswith("Federated minus the best site alone (b alone) is -0.033 nats a token, which is ")
    assert margin.sentence.endswith("the two are not told apart.")


def test_of_a_share_more_is_better_and_differences_are_in_points():
    recipe = recipe_of(**SHARES)
    found = compared(recipe, 1, base=0.1, alone_a=0.3, alone_b=0.2, alone_c=0.25, federated=0.7, pooled=0.9)
    assert found.margin is not None
    assert found.margin.best_alone == "alone-a"
    assert "+40.0 ± 0.0 points" in found.margin.sentence
    assert found.share_of_way is not None
    assert found.share_of_way.share == pytest.approx(0.75)
    assert "75 % of the way from the base model (10.0 %) to pooled records (90.0 %)." in found.share_of_way.sentence


def test_a_share_has_wilson_s_interval_of_as_many_records_as_unequal_sites_are_worth():
    recipe = recipe_of(**SHARES)
    federated = compared(recipe, 1, federated=0.7).arms[0]
    count = 9 / (1 / 20 + 1 / 40 + 1 / 10)  # not 70: the smallest site weighs as much as the others
    centre = (0.7 + 1.96**2 / (2 * count)) / (1 + 1.96**2 / count)
    reach = 1.96 / (1 + 1.96**2 / count) * math.sqrt(0.21 / count + 1.96**2 / (4 * count**2))
    assert federated.interval == pytest.approx((centre - reach, centre + reach), abs=1e-4)
    assert compared(recipe_of(), 1, federated=0.7).arms[0].interval is None


def test_the_share_of_the_way_has_a_spread_and_says_what_privacy_costs():
    found = compared(recipe_of(), 3, base=5.0, federated=[3.0, 2.0, 2.5], pooled=1.0, no_privacy=1.5)
    way = found.share_of_way
    assert way is not None
    assert way.share == pytest.approx(0.625)
    assert way.spread == pytest.approx(0.125)
    assert way.without_privacy == pytest.approx(0.875)
    assert way.sentence.endswith("; without privacy it would go 88 %.")


@pytest.mark.parametrize("pooled", [[5.1, 4.8, 5.2], [6.0, 6.0, 6.0]])
def test_there_is_no_way_where_pooled_records_are_no_better_than_the_base_model(pooled):
    way = compared(recipe_of(), 3, base=5.0, federated=4.9, pooled=pooled).share_of_way
    assert way is not None
    assert way.share is None
    assert "no way" in way.sentence


def test_arms_that_were_left_out_leave_out_what_follows_from_them():
    found = compared(recipe_of(), 1, federated=2.0, pooled=1.0)
    assert (found.margin, found.share_of_way) == (None, None)
    assert compared(recipe_of(), 1, federated=2.0, alone_a=3.0, alone_c=2.5).margin is None


def test_an_arm_that_diverged_has_no_figure_and_is_told():
    found = compared(recipe_of(), 2, base=5.0, federated=[2.0, None], pooled=1.0, **ALONE)
    federated = next(arm for arm in found.arms if arm.kind == "federated")
    assert (federated.mean, federated.spread, federated.figures) == (None, None, (2.0, None))
    assert (found.margin, found.share_of_way) == (None, None)
    assert any(note.startswith("federated has diverged (seed 1)") for note in found.notes)
    alone = compared(recipe_of(), 1, federated=2.0, alone_a=[None], alone_b=2.5, alone_c=3.0).margin
    assert alone is not None
    assert alone.best_alone == "alone-b"


def test_what_limits_the_figures_is_remarked():
    sites = LinearSites()
    sites.trained_elsewhere = 2
    notes = compared(
        recipe_of(training={"sample_rate": 0.5}), 1, sites, federated=2.0, **ALONE
    ).notes  # c draws as many
    assert any("One seed" in note for note in notes)
    said = (
        "Of a alone, b alone every record is drawn in every step, which is 67% of what the federation draws, or less."
    )
    assert said in notes
    assert any(note.startswith("2 held-out records can be found") for note in notes)
    assert compared(recipe_of(), 3, federated=2.0, **ALONE).notes == ()
    plain = compared(recipe_of(privacy={"mechanism": "none"}), 3, federated=2.0)
    assert any("without privacy" in note for note in plain.notes)
    assert plain.arms[0].epsilon is None


def test_that_arms_without_privacy_do_worse_is_remarked_as_it_flatters_the_federation():
    found = compared(recipe_of(), 1, base=5.0, federated=2.0, no_privacy=2.5, pooled=3.0, **ALONE)
    (note,) = (note for note in found.notes if note.startswith("Worse than the federation"))
    assert "federated, no privacy and pooled records." in note
    assert "sites alone may be held back, too" in note
    shares = compared(recipe_of(**SHARES), 1, base=0.1, federated=0.7, no_privacy=0.8, pooled=0.6)
    assert any("noised: pooled records." in note for note in shares.notes)
    better = compared(recipe_of(), 3, base=5.0, federated=2.0, no_privacy=1.5, pooled=1.0, **ALONE)
    assert better.notes == ()
    plain = compared(recipe_of(privacy={"mechanism": "none"}), 3, base=5.0, federated=2.0, pooled=3.0)
    assert not any("clipped and noised" in note for note in plain.notes)


def test_the_whole_says_what_it_is_of():
    found = compared(recipe_of(), 2, federated=[2.0, 2.2])
    assert [(site.name, site.units, site.heldout_units) for site in found.sites] == [
        ("a", 100, 20),
        ("b", 200, 40),
        ("c", 300, 10),
    ]
    assert found.heldout == HeldoutFigure()
    arm = found.arms[0]
    assert (arm.epsilon, arm.delta, arm.seeds, arm.drawn) == (8.0, 1e-5, (0, 1), pytest.approx(180))
    assert arm.rounds == (3, 3)
    assert arm.spread == pytest.approx(stdev([2.0, 2.2]))
    assert arm.by_site == {"a": pytest.approx(2.1), "b": pytest.approx(2.1), "c": pytest.approx(2.1)}
    assert "nothing of it is a release" in found.simulated
