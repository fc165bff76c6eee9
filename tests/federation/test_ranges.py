"""The range of a round, and rotation: what the sum is within."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from sealora_common.errors import FederationError
from sealora_common.round.clip_range import initial_range
from sealora_common.round.contribution import ContributionLayout
from sealora_common.round.order import RoundOrder
from sealora_common.secagg.encoding import FixedPoint
from sealora_common.secagg.rotation import BLOCK
from sealora_server.run.store import RunStore

from tiny_federation import WatchedGrid, events_of, recipe_of, run_inline, write_federation

SITES = ("site-0", "site-1", "site-2")


@dataclass
class Seen:
    """What the sites put into the rounds of a run, and what was opened."""

    run: Path
    ranges: list[float] = field(default_factory=list)
    weighted: dict[float, list[np.ndarray]] = field(default_factory=dict)
    words: set[int] = field(default_factory=set)
    opened: list = field(default_factory=list)


def observed(directory: Path, base: Path, **sections) -> Seen:
    seen = Seen(directory / "run")
    encode, decode = ContributionLayout.encode, ContributionLayout.decode

    def spied_encode(self, contribution, entropy):
        if self.parameters:
            if self.clip_range not in seen.ranges:
                seen.ranges.append(self.clip_range)
            seen.weighted.setdefault(self.clip_range, []).append(contribution.values * np.float64(contribution.weight))
            seen.words.add(self.segments[0].length)
        return encode(self, contribution, entropy)

    def spied_decode(self, opened):
        seen.opened.append(decode(self, opened))
        return seen.opened[-1]

    with mock.patch.multiple(ContributionLayout, encode=spied_encode, decode=spied_decode):
        run_inline(write_federation(directory, base, rounds=3, **sections), seen.run)
    return seen


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "rotated"])
def ranged(request, tiny_base, tmp_path_factory) -> Seen:
    sealing = {"weight_cap": 400, "rotation": request.param}
    return observed(tmp_path_factory.mktemp("range"), tiny_base(), sealing=sealing)


def test_the_range_of_a_round_follows_the_sum_of_the_one_before(ranged):
    recipe = recipe_of(ranged.run)
    records = [RunStore.open(ranged.run).record(number) for number in (1, 2, 3)]
    assert ranged.ranges == [initial_range(recipe), records[0].next_clip_range, records[1].next_clip_range]
    assert ranged.ranges[1] < ranged.ranges[0] / 2
    if not recipe.sealing.rotation:
        total = np.abs(ranged.opened[0].mean_delta * ranged.opened[0].total_weight).max()
        assert ranged.ranges[1] == pytest.approx(1.25 * total)
    assert all(record.clipped_fraction <= 1e-3 for record in records)


def test_the_result_is_the_plain_weighted_mean_within_the_bound_of_the_narrower_range(ranged):
    recipe = recipe_of(ranged.run)
    errors = []
    for reach, opened in zip(ranged.ranges, ranged.opened, strict=False):
        exact = np.sum(ranged.weighted[reach], axis=0) / opened.total_weight
        error = opened.mean_delta - exact
        step = FixedPoint(-reach, reach, recipe.sealing.ring_bits, len(SITES)).step
        # Rounding errs by less than a step a site and coordinate, by half of it in the mean; a rotation keeps norms.
        assert np.linalg.norm(error) < 3**0.5 * step / opened.total_weight * np.sqrt(error.size + BLOCK) / 2 * 1.1
        if not recipe.sealing.rotation:
            assert np.abs(error).max() < 3 * step / opened.total_weight * 1.001
        errors.append(float(np.linalg.norm(error) / np.linalg.norm(exact)))
    assert errors[1] < errors[0] / 2
    assert errors[2] < 1e-2


def test_a_rotated_run_sends_whole_blocks_and_ends_with_an_evaluation(ranged):
    rotation = recipe_of(ranged.run).sealing.rotation
    assert {length % BLOCK == 0 for length in ranged.words} == {rotation}
    (last,) = events_of(ranged.run, "evaluation_finished")
    assert last.survivors == SITES


def test_a_range_that_the_recipe_fixes_stays_through_the_run(tiny_base, tmp_path):
    assert observed(tmp_path, tiny_base(), sealing={"clip_range": 0.015625}).ranges == [0.015625]


def test_an_order_with_a_wider_range_than_the_recipe_s_is_refused_by_every_site(tiny_base, tmp_path):
    recipe, run = write_federation(tmp_path, tiny_base(), sites={"round_attempts": 1}), tmp_path / "run"

    class Widening(WatchedGrid):
        def exchange(self, site, action, message):
            if action == "train":
                config = message.content.config_records["config"]
                order = RoundOrder.parse(config["order"])
                wider = order.model_copy(update={"clip_range": np.nextafter(order.clip_range, 1)})
                config["order"] = wider.to_bytes()
                config["order-signature"] = wider.signed_by(RunStore.open(run).server_identity())
            return super().exchange(site, action, message)

    with pytest.raises(FederationError, match="none that the recipe allows: it was refused"):
        run_inline(recipe, run, grid=Widening)
    refused = {event.site for event in events_of(run, "site_failed") if "none that the recipe allows" in event.reason}
    assert refused == set(SITES)
    assert not list((run / "sites").glob("*/ledger.sqlite"))
