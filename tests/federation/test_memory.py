"""A simulation holds one base model, whatever the number of its sites."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import transformers

from process_tree import Taken, taken

from tiny_federation import write_federation
from tiny_models import tiny_tokenizer


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A base model of 17 MB: fifty of them would more than double the memory of a simulation of two sites."""
    directory = tmp_path_factory.mktemp("base")
    tokenizer = tiny_tokenizer()
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def measure(directory: Path, base: Path, count: int, engine: str = "inline") -> Taken:
    recipe = write_federation(
        directory,
        base,
        count=count,
        records=6,
        rounds=1,
        training={"steps_per_round": 1, "sample_rate": 0.3},
        sealing={"adversary": "curious", "min_survivors": 2},
        sites={"minimum": 2, "stage_timeout": 3600.0},
    )
    script = Path(__file__).with_name("simulate_and_measure.py")
    # Ray gives its workers a lower priority than all else on the machine: they would wait for whatever else runs there.
    environment = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "RAY_worker_niceness": "0"}
    command = [sys.executable, script, recipe, directory / "run", engine]
    done = taken(command, environment, output=directory / "said", timeout=7200)
    assert done.status == 0, done.said
    return done


def ratio_of(two: int, many: int, count: int) -> float:
    print(f"2 sites: {two / 2**20:.0f} MiB, {count} sites: {many / 2**20:.0f} MiB, ratio {many / two:.3f}")
    return many / two


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "most"),
    [pytest.param(16, 1.15, id="sixteen"), pytest.param(50, 1.5, id="fifty")],
)
def test_many_sites_take_little_more_memory_than_two(base, tmp_path, record_property, count, most):
    """A model for each of them would take a third more at sixteen sites, and more than twice as much at fifty."""
    two, many = measure(tmp_path / "two", base, 2), measure(tmp_path / "many", base, count)
    ratio = ratio_of(two.peak_alone, many.peak_alone, count)
    record_property("memory_ratio", ratio)
    assert ratio < most
    assert json.loads(two.said.splitlines()[-1]) == json.loads(many.said.splitlines()[-1]) == {"models": 1}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["inline", "ray"])
def test_nor_do_two_hundred_of_a_tiny_model(tiny_base, tmp_path, record_property, engine):
    """Of all processes together: on Ray its own, its workers with a base model each, and the server's.

    What each of two hundred is told by all others is more than the model: in memory it would be twice that of two.
    """
    two = measure(tmp_path / "two", tiny_base(), 2, engine)
    many = measure(tmp_path / "many", tiny_base(), 200, engine)
    ratio = ratio_of(two.peak, many.peak, 200)
    record_property("memory_ratio", ratio)
    assert ratio <= 1.5
    if engine == "inline":
        assert many.peak_alone <= 1.5 * two.peak_alone
