"""A run without privacy that names a seed can be repeated to the bit, with nothing set in anybody's environment."""

from __future__ import annotations

import pytest

from sealora_client.round import participation

from tiny_federation import adapter_bytes, events_of, run_inline, write_federation


@pytest.fixture
def federation(tiny_base, tmp_path, monkeypatch):
    monkeypatch.delenv("SEALORA_INSECURE_SEED", raising=False)

    def make(**training):
        lora = {"dropout": 0.2}
        return write_federation(tmp_path, tiny_base(), lora=lora, training={"steps_per_round": 2, **training})

    return make


def test_two_runs_of_one_seed_give_one_adapter_and_another_seed_another(federation, tmp_path):
    first, second = (run_inline(federation(seed=7), tmp_path / name) for name in "ab")
    assert adapter_bytes(first) == adapter_bytes(second)
    assert adapter_bytes(run_inline(federation(seed=8), tmp_path / "c")) != adapter_bytes(first)
    assert not events_of(first, "run_started")[0].insecure  # keys and masks are as secret as ever


@pytest.mark.slow
def test_without_one_no_run_is_like_another(federation, tmp_path):
    assert adapter_bytes(run_inline(federation(), tmp_path / "a")) != adapter_bytes(
        run_inline(federation(), tmp_path / "b")
    )


def test_keys_do_not_follow_from_the_seed(federation, tmp_path, monkeypatch):
    """The recipe is everybody's: masks that followed from it would hide nothing."""
    drawn = []
    system = participation.site_entropy

    def watched(*purpose):
        entropy = system(*purpose)
        drawn.append((purpose[-1], entropy.bytes(32)))
        return entropy

    monkeypatch.setattr(participation, "site_entropy", watched)
    for name in "ab":
        run_inline(federation(seed=7), tmp_path / name)
    assert {purpose for purpose, _ in drawn} == {"keys"}
    assert len({value for _, value in drawn}) == len(drawn)
