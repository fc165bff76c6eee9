"""What a private training step takes on several devices of a site, next to one; and whether the bits are the same.

    python tests/benchmarks/devices.py --json              # two processes, a core each; a minute
    python tests/benchmarks/devices.py --quick --json      # a tiny model; the figures mean nothing

A random Llama of 4 million parameters, LoRA of rank 8 on all linear layers, both halves trained; 48 records of 20 to
90 tokens, all of them drawn, in micro-batches of 4. `--devices` takes what site.yaml's `devices` does (a number, or
names with commas between them). Every process on the CPU has one thread. One device and several take turns, in rounds
of one step; ratios are medians over rounds. Nothing is asserted.

Progress goes to stderr; with `--json` the last line of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "client")]


def main() -> None:
    """Runs everything and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--quick", action="store_true", help="a tiny model: does it run?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--devices", default="2")
    options = parser.parse_args()
    figures = measure(options.devices, quick=options.quick, rounds=1 if options.quick else options.rounds)
    print(json.dumps(figures) if options.json else "\n".join(f"{key:24} {value}" for key, value in figures.items()))


def measure(asked: str, *, quick: bool, rounds: int) -> dict[str, Any]:
    """All figures by name; `quick` ones have the same names."""
    import numpy as np
    import torch

    from sealora_client.data.population import Population
    from sealora_client.model.adapted import AdaptedModel
    from sealora_client.model.device import choose_training_device, device_names
    from sealora_client.training.clipped_sum import ClippedSum
    from sealora_client.training.devices.group import DeviceGroup
    from sealora_common.adapter import adapter_kind
    from sealora_common.entropy import SeededEntropy

    from single_examples import plan_for, random_examples, recipe_for, write_random_adapter

    names = device_names(int(asked) if asked.isdigit() else asked.split(","))
    choose_training_device(names[0])
    with tempfile.TemporaryDirectory() as directory:
        training = {"micro_batch_size": 4, "sample_rate": 1.0, "steps_per_round": 1}
        lora = {"rank": 8, "aggregation": "average", "target_modules": "all-linear"}
        base = _base(Path(directory), quick=quick)
        recipe = recipe_for(base, training=training, lora=lora, data={"max_tokens": 96})
        model = AdaptedModel.load(recipe)
        torch.set_num_threads(len(names))
        devices = DeviceGroup(model, names)
        _progress(f"starting {len(names)} devices: {', '.join(names)}")
        started = time.perf_counter()
        devices.prepare(recipe)
        to_start = time.perf_counter() - started
        generator = np.random.default_rng(0)
        lengths = [(int(n), 10) for n in generator.integers(10, 80, 8 if quick else 48)]
        population = Population.of(random_examples(lengths))
        layout = adapter_kind(recipe).trained(model.layout, 1)

        def step(group: DeviceGroup | None) -> tuple[float, bytes]:
            write_random_adapter(model)
            sums = ClippedSum(
                model,
                layout,
                population,
                plan=plan_for(recipe),
                recipe=recipe,
                clip_norm=1.0,
                entropy=SeededEntropy("s"),
                devices=group,
            )
            with sums:
                begun = time.perf_counter()
                total = sums.draw().cpu()
                return time.perf_counter() - begun, total.numpy().tobytes()

        found: dict[int, list[float]] = {1: [], len(names): []}
        bits: set[bytes] = set()
        for number in range(-1, rounds):
            for count, group in ((1, None), (len(names), devices)):
                seconds, total = step(group)
                bits.add(total)
                if number >= 0:
                    found[count].append(seconds)
                _progress(f"round {number + 1} of {rounds}, {count} devices: {seconds:.2f} s")
        devices.close()
    one, several = found[1], found[len(names)]
    return {
        "quick": quick,
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[2], 2),
        "devices": names,
        "adapter_parameters": layout.size,
        "start_seconds": round(to_start, 2),
        "step_seconds_one": round(median(one), 3),
        "step_seconds_several": round(median(several), 3),
        "speedup": round(median(mine / theirs for mine, theirs in zip(one, several, strict=True)), 3),
        "same_bits": len(bits) == 1,
    }


def _base(directory: Path, *, quick: bool) -> Path:
    from transformers import AutoModelForCausalLM, LlamaConfig

    from tiny_models import make_tiny_model, tiny_tokenizer

    if quick:
        return make_tiny_model(directory / "base")
    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(directory / "base")
    tokenizer.save_pretrained(directory / "base")
    return directory / "base"


def _progress(said: str) -> None:
    print(said, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
