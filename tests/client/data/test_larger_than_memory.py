"""Data that lie in a file aside are trained on to the same bits, and take no more memory than a small data set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sealora_client.data import spool
from sealora_client.data.load import load_data, read_records_of
from sealora_client.model.adapted import AdaptedModel
from sealora_common.recipe import Recipe

from dp_sgd_runs import SGD, train
from tiny_federation import PRIVATE

MEMORY = 160 * 2**20
"""Bytes that a process may take for its data, beyond what it has taken for a small data set."""


def recipe_on(base: Path, **data: object) -> Recipe:
    model = {"base": str(base), "quantization": "none", "compute_dtype": "float32"}
    return Recipe.model_validate(
        {
            "name": "tiny", "rounds": 1, "model": model, "lora": {"rank": 2, "alpha": 4.0}, "privacy": PRIVATE,
            "data": {"max_tokens": 64} | data, "training": SGD | {"sample_rate": 0.5},
        }
    )  # fmt: skip


def write(path: Path, count: int, words: int = 3) -> Path:
    with path.open("w") as file:
        for number in range(count):
            part = "heldout" if number % 10 == 0 else "train"
            text = " ".join(str(number * word) for word in range(1, words))
            line = {"prompt": f"{number}: {text}?", "response": f"It is {number}.", "split": part}
            file.write(json.dumps(line | {"patient": f"{part} {number // 30}"}) + "\n")
    return path


@pytest.mark.parametrize("data", [{}, {"person_field": "patient"}])
def test_wherever_they_lie_the_same_units_are_charged_drawn_and_trained_on(tiny_base, tmp_path, monkeypatch, data):
    recipe = recipe_on(tiny_base(), **data, heldout_limit=7)
    path = write(tmp_path / "site.jsonl", 120)
    model = AdaptedModel.load(recipe)
    here, read = load_data(path, recipe, model), read_records_of(path, recipe)
    monkeypatch.setattr(spool, "IN_MEMORY", 0)
    aside, read_aside = load_data(path, recipe, model), read_records_of(path, recipe)
    assert read_aside.train._file is not None
    assert (here.train_set, here.heldout_set) == (aside.train_set, aside.heldout_set)
    assert (read.train, read.heldout) == (read_aside.train, read_aside.heldout)
    assert (here.warning, here.remarks, here.truncated) == (aside.warning, aside.remarks, aside.truncated)
    assert len(here.heldout) == len(aside.heldout) == 7 if not data else True
    for part, other in ((here.train, aside.train), (here.heldout, aside.heldout)):
        tokens, others = ([[e.tokens.tobytes() for e in unit] for unit in each.units] for each in (part, other))
        assert tokens == others
    one, another = train(model, recipe, here.train), train(model, recipe, aside.train)
    assert np.array_equal(one.values, another.values)
    assert one.moved


PROGRAM = """
import resource, sys
from pathlib import Path
import torch
from sealora_client.data.load import load_data
from sealora_client.ledger import Rehearsal
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.dp_sgd import train_round
from sealora_common.entropy import SeededEntropy
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import parse_recipe

def used(name):
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) * 1024

recipe = parse_recipe(sys.argv[1])
model = AdaptedModel.load(recipe)
plan = privacy_plan(recipe, 3).training

def work(path):
    data = load_data(Path(path), recipe, model)
    leave = Rehearsal(plan.event)
    entropy = SeededEntropy("s")
    train_round(model, data.train, plan=plan, recipe=recipe, leave=leave, entropy=entropy, round_number=1)
    return len(data.train), len(data.heldout)

work(sys.argv[2])
before, limit = used("VmHWM"), used("VmData") + int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
units, heldout = work(sys.argv[3])
print(units, heldout, used("VmHWM") - before)
"""


@pytest.mark.slow
def test_a_file_of_several_times_the_memory_is_trained_on(tiny_base, tmp_path):
    recipe = recipe_on(tiny_base(), heldout_limit=50)
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"sample_rate": 0.001})})
    small, large = write(tmp_path / "small.jsonl", 60), write(tmp_path / "large.jsonl", 30_000, 3000)
    assert large.stat().st_size > 3 * MEMORY
    arguments = [recipe.model_dump_json(), str(small), str(large), str(MEMORY)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    units, heldout, more = map(int, done.stdout.split())
    assert (units, heldout) == (27_000, 50)
    assert more < MEMORY
