"""The sites of a comparison: whose records are together, what they are known by, and what cannot be measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sealora_client.simulated import SimulatedSites
from sealora_common.adapter import adapter_kind
from sealora_common.errors import DataError
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import load_recipe
from sealora_common.round.unsealed import UnsealedOrder

from tiny_federation import write_federation

ALL = ("site-0", "site-1", "site-2")


def sites_of(path: Path):
    return SimulatedSites.unsealed(load_recipe(path))


def change_records(path: Path, change) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in change(rows)))


def test_parties_have_their_sites_records_and_every_site_its_own_held_out_ones(tiny_base, tmp_path):
    path = write_federation(tmp_path, tiny_base())
    sites = sites_of(path)
    assert sites.names == ALL
    assert [sites.units((name,)) for name in ALL] == [24, 25, 26]
    assert sites.units(ALL) == 75
    assert [sites.heldout_units(name) for name in ALL] == [4, 4, 4]
    kind = adapter_kind(load_recipe(path))
    start = kind.shared(sites.layout).flatten(kind.initial(sites.layout))
    found = sites.heldout(start)
    assert [each.site for each in found] == list(ALL)
    assert all(each.by_unit.shape == (4,) for each in found)
    assert len({each.mean for each in found}) == 3


def test_one_step_on_all_records_together_is_the_mean_of_the_sites_steps_by_records(tiny_base, tmp_path):
    sgd = {"optimizer": "sgd", "learning_rate": 1.0, "sample_rate": 1.0}
    path = write_federation(tmp_path, tiny_base(), training=sgd, sealing={"weight_cap": 100, "weight_floor": 0.01})
    recipe, sites = load_recipe(path), sites_of(path)
    kind = adapter_kind(recipe)
    start = kind.shared(sites.layout).flatten(kind.initial(sites.layout))
    order = UnsealedOrder(recipe, 3, "train", 1, recipe.privacy.clip_norm, evaluates=False, seed=0)
    each = [sites.answer((name,), order, start).contribution for name in ALL]
    mean = np.average([part.values for part in each], axis=0, weights=[part.weight for part in each])
    pooled = sites.answer(ALL, order, start)
    np.testing.assert_allclose(pooled.contribution.values, mean, rtol=2e-4, atol=1e-6)
    assert pooled.median_norm > 0
    assert [part.weight for part in each] == pytest.approx([0.24, 0.25, 0.26])


def test_an_evaluation_alone_trains_nothing_and_tells_what_the_server_would_be_told(tiny_base, tmp_path):
    path = write_federation(tmp_path, tiny_base())
    recipe, sites = load_recipe(path), sites_of(path)
    kind = adapter_kind(recipe)
    start = kind.shared(sites.layout).flatten(kind.initial(sites.layout))
    order = UnsealedOrder(recipe, 3, "evaluate", 3, recipe.privacy.clip_norm, evaluates=True, seed=0)
    told = [sites.answer((name,), order, start).contribution for name in ALL]
    assert all(len(part.values) == 0 for part in told)
    exact = [min(8.0, each.by_unit.mean()) for each in sites.heldout(start)]
    assert [part.heldout_loss for part in told] == pytest.approx(exact, abs=1e-4)
    assert sites.answer(ALL, order, start).contribution.heldout_loss == pytest.approx(np.mean(exact), abs=1e-4)
    assert privacy_plan(recipe, 3).heldout.protects is False


def test_comparisons_are_told_apart_by_their_records_and_not_by_their_order(tiny_base, tmp_path):
    path = write_federation(tmp_path, tiny_base())
    digest = sites_of(path).digest
    change_records(tmp_path / "site-1.jsonl", lambda rows: rows[::-1])
    assert sites_of(path).digest == digest
    change_records(tmp_path / "site-1.jsonl", lambda rows: rows[:-1])
    assert sites_of(path).digest != digest


def test_held_out_records_that_some_site_trains_on_are_counted(tiny_base, tmp_path):
    path = write_federation(tmp_path, tiny_base())
    assert sites_of(path).trained_elsewhere == 0
    own = [json.loads(line) for line in (tmp_path / "site-0.jsonl").read_text().splitlines()]
    taken = [row | {"split": "train"} for row in own if row["split"] == "heldout"][:2]
    change_records(tmp_path / "site-2.jsonl", lambda rows: rows + taken)
    assert sites_of(path).trained_elsewhere == 2


def test_a_site_whose_held_out_records_cannot_be_shown_is_refused_by_its_file(tiny_base, tmp_path):
    path = write_federation(tmp_path, tiny_base(), data={"prompt_template": "{{ prompt }}"})

    def spoil(rows):
        return [{"promt" if key == "prompt" else key: row[key] for key in row} for row in rows[:4]] + rows[4:]

    change_records(tmp_path / "site-1.jsonl", spoil)
    with pytest.raises(DataError, match=r"site-1\.jsonl: none of its held-out records can be shown to the model"):
        sites_of(path)
