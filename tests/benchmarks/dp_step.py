"""What a private training step costs next to the same step without privacy, and next to Opacus.

    python tests/benchmarks/dp_step.py --json              # half an hour on one core; needs the demo model and data
    python tests/benchmarks/dp_step.py --brief --json      # six minutes: neither peers nor memory, to be repeated
    python tests/benchmarks/dp_step.py --quick --json      # seconds, on a tiny model; the figures mean nothing

SmolLM2-135M in NF4 as the demo recipe trains it (r = 8 on all linear layers), on a hospital's records, Poisson batches
of 24 records on average in micro-batches of 12 rows. A whole step counts: sampling, per-example gradients, clipping,
rounding, noise, optimiser. The candidates take turns, on the same batches, in rounds of four steps; ratios are medians
over rounds. Peak memory is that of a process of its own, the model in it. Each figure comes for the recipe's default,
where B is trained (`ffa`), and, with `_ab` at its end, where both halves are (`average`). Opake (of the extra `bench`)
is asked whether it can take such a step at all.

Progress goes to stderr; with `--json` the last line of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

HALVES = {"ffa": "", "average": "_ab"}
NAMES = ("non_private", "sealora", "sealora_noise_after", "opacus_hooks", "opacus_ghost")
PEERS = {
    "sealora": "",
    "sealora_noise_after": "noise_after_",
    "opacus_hooks": "opacus_hooks_",
    "opacus_ghost": "opacus_ghost_",
}
STEPS = 4
ROOT = Path(__file__).parents[2]


def main() -> None:
    """Runs everything and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--quick", action="store_true", help="a tiny model: does it run?")
    parser.add_argument("--brief", action="store_true", help="neither peers nor memory, to be repeated")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each candidate")
    parser.add_argument("--threads", type=int, default=1, help="more only on an idle machine")
    parser.add_argument("--memory-of", nargs=2, metavar=("CANDIDATE", "AGGREGATION"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before torch is imported
    if options.memory_of:
        print(json.dumps(_peak_memory(*options.memory_of, quick=options.quick)))
        return
    rounds = 1 if options.quick else options.rounds
    figures = measure(quick=options.quick, brief=options.brief, rounds=rounds, threads=options.threads)
    rounded = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps(rounded) if options.json else "\n".join(f"{key:40} {value}" for key, value in rounded.items()))


def measure(*, quick: bool, brief: bool, rounds: int, threads: int) -> dict[str, Any]:
    """All figures by name; `quick` ones have the same names."""
    started = time.monotonic()
    figures: dict[str, Any] = {
        "quick": quick,
        "machine": platform.processor() or platform.machine(),
        "threads": threads,
        "rounds": rounds,
    }
    if not brief:
        figures["opake"] = _opake(quick=quick)
    names = NAMES[:2] if brief else NAMES
    for aggregation, suffix in HALVES.items():
        timings = _seconds(aggregation, names, quick=quick, rounds=rounds)
        for name, clocks in timings.items():
            for clock, seconds in clocks.items():
                figures[f"{clock}_seconds_{name}{suffix}"] = median(seconds)
        for name in names[1:]:
            for clock, key in (("wall", "time_ratio"), ("cpu", "cpu_time_ratio")):
                figures[f"{PEERS[name]}{key}{suffix}"] = _ratio(timings[name][clock], timings["non_private"][clock])
        if brief:
            continue
        memory = {name: _memory_of(name, aggregation, quick=quick, threads=threads) for name in NAMES}
        figures |= {f"peak_mb_{name}{suffix}": peak["peak_mb"] for name, peak in memory.items()}
        figures[f"loaded_mb{suffix}"] = memory["non_private"]["loaded_mb"]
        for name, prefix in PEERS.items():
            figures[f"{prefix}memory_ratio{suffix}"] = memory[name]["peak_mb"] / memory["non_private"]["peak_mb"]
    figures["benchmark_seconds"] = time.monotonic() - started
    return figures


def _opake(*, quick: bool) -> str:
    """Whether Opake can take these steps; it alone of all has no figures where it cannot."""
    from dp_step_candidates import opake_verdict

    return opake_verdict(_bench("ffa", quick=quick))


def _ratio(candidate: Sequence[float], reference: Sequence[float]) -> float:
    """The median of the ratios round by round: both were measured within a minute of each other."""
    return median(mine / theirs for mine, theirs in zip(candidate, reference, strict=True))


def _seconds(aggregation: str, names: Sequence[str], *, quick: bool, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds a step of each candidate in each round, on the wall and of the processor."""
    from dp_step_candidates import CANDIDATES

    bench = _bench(aggregation, quick=quick)
    start = bench.model.read(bench.model.layout.names)
    timings: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in names}
    for number in range(-1, rounds):
        _progress(f"{aggregation}: " + (f"round {number + 1} of {rounds}" if number >= 0 else "warming up"))
        samples = bench.draw(STEPS)
        for name in names if number % 2 else reversed(names):
            bench.model.write(start)
            wall, cpu = time.perf_counter(), time.process_time()
            CANDIDATES[name](bench, samples)
            if number >= 0:
                timings[name]["wall"].append((time.perf_counter() - wall) / STEPS)
                timings[name]["cpu"].append((time.process_time() - cpu) / STEPS)
        if number >= 0:
            _progress(", ".join(f"{name} {timings[name]['wall'][-1]:.2f} s" for name in names))
    return timings


def _memory_of(name: str, aggregation: str, *, quick: bool, threads: int) -> dict[str, float]:
    """Memory of one candidate, measured in a process of its own."""
    _progress(f"{aggregation}: memory of {name}")
    command = [sys.executable, __file__, "--memory-of", name, aggregation, "--threads", str(threads)]
    run = subprocess.run(command + ["--quick"] * quick, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(f"the memory of {name} could not be measured:\n{run.stderr}")
    result: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return result


def _peak_memory(name: str, aggregation: str, *, quick: bool) -> dict[str, float]:
    """Megabytes resident in this process: with the model loaded, and at most while one candidate trained."""
    from dp_step_candidates import CANDIDATES

    bench = _bench(aggregation, quick=quick)
    # The largest batch there could well be, the same for all: memory follows from the longest records.
    count = min(len(bench.examples), 2 * bench.recipe.training.micro_batch_size)
    longest = sorted(range(len(bench.examples)), key=lambda index: -len(bench.examples[index].tokens))[:count]
    loaded = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from here: loading takes a peak of its own
    import numpy as np

    CANDIDATES[name](bench, [np.array(longest)] * STEPS)
    return {"loaded_mb": loaded, "peak_mb": _status("VmHWM")}


def _status(field: str) -> float:
    """A field of this process's status in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def _bench(aggregation: str, *, quick: bool) -> Any:
    """The demo recipe on a hospital's records, or a tiny random model on random tokens."""
    import torch
    from dp_step_candidates import Bench

    from sealora_client.model.adapted import AdaptedModel
    from sealora_common.recipe import load_recipe

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    overrides = [f"lora.aggregation={aggregation}", "lora.rank=8", f"training.steps_per_round={STEPS}"]
    overrides += ["training.optimizer=adamw", "training.learning_rate=1.0e-2", "server.optimizer=fedavg"]
    if quick:
        overrides += [f"model.base={_tiny_model()}", "model.compute_dtype=float32", "training.micro_batch_size=4"]
    recipe = load_recipe(ROOT / "configs" / "demo-icd10.yaml", overrides)
    model = AdaptedModel.load(recipe)
    examples = _tiny_examples() if quick else _records(model, recipe)
    rate = (6 if quick else 24) / len(examples)
    training = recipe.training.model_copy(update={"sample_rate": rate})
    return Bench(model, examples, recipe.model_copy(update={"training": training}))


def _records(model: Any, recipe: Any) -> Any:
    from sealora_client.data.load import load_data

    path = ROOT / ".cache" / "demo" / "heart-hospital.jsonl"
    if not path.is_file():
        raise SystemExit(f"{path} is missing: make it with `sealora-site demo-data .cache/demo`")
    return [example for unit in load_data(path, recipe, model).train.units for example in unit]


def _tiny_model() -> Path:
    import tempfile

    sys.path.insert(0, str(ROOT / "tests"))
    from tiny_models import make_tiny_model

    return make_tiny_model(Path(tempfile.mkdtemp(prefix="tiny-")))


def _tiny_examples() -> Any:
    sys.path.insert(0, str(ROOT / "tests" / "client"))
    from single_examples import some_examples

    return some_examples(30)


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
