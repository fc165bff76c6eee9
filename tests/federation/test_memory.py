"""A simulation holds one base model, whatever the number of its sites."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import transformers

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


def measure(directory: Path, base: Path, count: int) -> dict[str, int]:
    recipe = write_federation(
        directory,
        base,
        count=count,
        records=6,
        rounds=1,
        training={"steps_per_round": 1, "sample_rate": 0.3},
        sealing={"adversary": "curious", "min_survivors": 2},
        sites={"minimum": 2},
    )
    script = Path(__file__).with_name("simulate_and_measure.py")
    done = subprocess.run(
        [sys.executable, str(script), str(recipe), str(directory / "run")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("count", "most"),
    [pytest.param(16, 1.15, id="sixteen"), pytest.param(50, 1.5, id="fifty", marks=pytest.mark.slow)],
)
def test_many_sites_take_little_more_memory_than_two(base, tmp_path, record_property, count, most):
    """A model for each of them would take a third more at sixteen sites, and more than twice as much at fifty."""
    two, many = measure(tmp_path / "two", base, 2), measure(tmp_path / "many", base, count)
    ratio = many["peak"] / two["peak"]
    record_property("memory_ratio", ratio)
    print(f"2 sites: {two['peak'] / 1024:.0f} MiB, {count} sites: {many['peak'] / 1024:.0f} MiB, ratio {ratio:.3f}")
    assert ratio < most
    assert two["models"] == many["models"] == 1
