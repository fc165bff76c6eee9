"""Schedules of the learning rate in whole runs: who takes the steps, how long they are, and the same after a resume."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sealora_client.training import dp_sgd
from sealora_common.round.contribution import ContributionLayout
from sealora_common.round.learning_rate import rate_factor
from sealora_server.run.store import RunStore

from tiny_federation import WatchedGrid, adapter_bytes, adapter_of, events_of, recipe_of, run_inline, write_federation

LINEAR = {"schedule": "linear", "warmup_steps": 1}


def vector_of(tensors):
    return np.concatenate([tensors[name].ravel() for name in sorted(tensors) if name.endswith("lora_B.weight")])


@pytest.fixture
def opened(monkeypatch):
    """What each sum said."""
    found, decode = [], ContributionLayout.decode

    def spied(self, total):
        found.append(decode(self, total))
        return found[-1]

    monkeypatch.setattr(ContributionLayout, "decode", spied)
    return found


@pytest.mark.slow
def test_under_distributed_the_server_s_steps_are_scheduled(tiny_base, tmp_path, opened):
    privacy = {"mechanism": "distributed", "epsilon": 8.0, "delta": 1e-3}
    recipe = write_federation(
        tmp_path, tiny_base(), rounds=4, privacy=privacy, training=LINEAR, sealing={"ring_bits": 24}
    )
    run = run_inline(recipe, tmp_path / "run")
    adapters = [np.zeros_like(vector_of(adapter_of(run, 1)))] + [vector_of(adapter_of(run, n)) for n in range(1, 5)]
    factors = [rate_factor(recipe_of(run), step) for step in range(4)]
    assert factors == pytest.approx([1 / 2, 1, 2 / 3, 1 / 3])
    for (before, after), result, factor in zip(itertools.pairwise(adapters), opened, factors, strict=False):
        np.testing.assert_allclose(after - before, factor * result.mean_delta, rtol=1e-3, atol=1e-6)


@pytest.fixture
def rates(monkeypatch):
    """The learning rates of all sites' steps, in their order."""
    found, set_rate = [], dp_sgd.set_learning_rate

    def watched(optimizer, rate):
        found.append(rate)
        set_rate(optimizer, rate)

    monkeypatch.setattr(dp_sgd, "set_learning_rate", watched)
    return found


def between_rounds(number):
    class Stopping(WatchedGrid):
        def exchange(self, site, action, message):
            if action == "train" and self.round == number:
                raise KeyboardInterrupt
            return super().exchange(site, action, message)

    return Stopping


@pytest.mark.slow
def test_the_sites_go_through_one_schedule_and_a_resumed_run_goes_on_in_it(tiny_base, tmp_path, rates):
    training = {"steps_per_round": 2, "learning_rate": 0.01, "schedule": "cosine", "warmup_steps": 2, "seed": 7}
    recipe = write_federation(tmp_path, tiny_base(), rounds=3, training=training)
    whole = run_inline(recipe, tmp_path / "whole")
    own = recipe_of(whole)
    of_rounds = [[0.01 * rate_factor(own, 2 * number + step) for step in range(2)] for number in range(3)]
    expected = [rate for of_round in of_rounds for _ in range(3) for rate in of_round]
    assert rates == pytest.approx(expected)
    with pytest.raises(KeyboardInterrupt):
        run_inline(recipe, tmp_path / "cut", grid=between_rounds(2))
    run_inline(recipe, tmp_path / "cut", resume=True)
    assert adapter_bytes(tmp_path / "cut") == adapter_bytes(whole)
    assert len(events_of(tmp_path / "cut", "run_started")) == 2


def test_the_range_of_a_delta_grows_with_the_warmup(tiny_base, tmp_path, opened):
    """Adam's deltas go with the rate: a range that followed the last round's sum alone would be too narrow."""
    training = {"learning_rate": 0.01, "warmup_steps": 3, "sample_rate": 1.0}
    run = run_inline(write_federation(tmp_path, tiny_base(), rounds=4, training=training), tmp_path / "run")
    store = RunStore.open(run)
    for number, growth in ((1, 2.0), (2, 1.5), (3, 4 / 3), (4, 1.0)):
        result, record = opened[number - 1], store.record(number)
        longest = np.abs(result.mean_delta * result.total_weight).max()
        assert record.next_clip_range == pytest.approx(1.25 * longest * growth)
        assert record.clipped_fraction <= 1e-3
