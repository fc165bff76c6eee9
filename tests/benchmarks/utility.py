"""What privacy costs in usefulness: held-out loss of the demo federation without noise, distributed, local, by person.

    sealora-site model fetch smollm2-135m-instruct && sealora-site demo-data .cache/demo
    python tests/benchmarks/utility.py --out runs/utility --json     # five hours on one core
    python tests/benchmarks/utility.py --out runs/quick --quick --json

Every run is a whole simulated federation, sealed, with its noise and sampling seeded so that it can be repeated (the
seed is the run's number: SEALORA_INSECURE_SEED). A run whose summary is in the directory already is not run again, so
the command can be stopped and taken up.

`recovered_*` is the share of the non-private fall in held-out loss that a private run of the same seed reaches, mean
over seeds; of the two runs without privacy (all linear layers, value projections) it is the one that falls further. All
take as many records in all. Loss is the mean over sites of nats a response token; exact match (`--exact-match`) is over
greedy completions of held-out prompts; bytes are what one site sends in the whole run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

DISTRIBUTED = "configs/demo-icd10-distributed.yaml"
LOCAL = "configs/demo-icd10.yaml"
VALUES = "configs/demo-icd10-values.yaml"

NO_NOISE = [
    "privacy.mechanism=none",
    "privacy.spare_rounds=0",
    # A plain gradient, which the server's optimiser steps on, as it does on the distributed sum.
    "training.optimizer=sgd",
    "training.learning_rate=1.0",
    "sealing.clip_range=16.0",
]
SEVEN_ROUNDS = [
    "rounds=7",
    "training.sample_rate=0.0257",
    "training.evaluate_every=7",
    "server.learning_rate=6e-2",
    "server.momentum=0.5",
]
AT_EACH_SITE = [
    "privacy.mechanism=local",
    "privacy.spare_rounds=0",
    "training.optimizer=sgd",
    "training.learning_rate=1.0",
]
AS_MANY_STEPS = ["rounds=6", "training.evaluate_every=6"]
FASTER = ["model.quantization=none"]  # bf16 instead of NF4, which saves a fifth of the time on a CPU
RUNS: dict[str, tuple[str, list[str]]] = {
    "none": (DISTRIBUTED, NO_NOISE),
    "distributed_eps8": (DISTRIBUTED, ["privacy.epsilon=8"]),
    "distributed_eps2": (DISTRIBUTED, ["privacy.epsilon=2"]),
    "local_eps8": (LOCAL, ["privacy.epsilon=8", *AS_MANY_STEPS]),
    "local_eps2": (LOCAL, ["privacy.epsilon=2", *AS_MANY_STEPS]),
    "values_none": (VALUES, NO_NOISE),
    "values_eps8": (VALUES, ["privacy.epsilon=8"]),
    "values_eps2": (VALUES, ["privacy.epsilon=2"]),
    "values_local_eps8": (VALUES, ["privacy.epsilon=8", *AT_EACH_SITE]),
    "values_local_eps2": (VALUES, ["privacy.epsilon=2", *AT_EACH_SITE]),
    "values_brief_eps8": (VALUES, ["privacy.epsilon=8", *SEVEN_ROUNDS]),
    "values_brief_eps2": (VALUES, ["privacy.epsilon=2", *SEVEN_ROUNDS]),
}
BY_PERSON = "values_eps8_person"
PUBLIC = {"public": DISTRIBUTED, "public_values": VALUES}
"""Runs on public text."""
WARM: dict[str, tuple[str, list[str]]] = {
    "warm_none": ("public", NO_NOISE),
    "warm_eps8": ("public", ["privacy.epsilon=8"]),
    "warm_eps2": ("public", ["privacy.epsilon=2"]),
    "warm_values_eps8": ("public_values", ["privacy.epsilon=8", *SEVEN_ROUNDS]),
    "warm_values_eps2": ("public_values", ["privacy.epsilon=2", *SEVEN_ROUNDS]),
}
WITHOUT_PRIVACY = ("none", "values_none")
EVERY = [*RUNS, BY_PERSON, *WARM]
EXACT_MATCH_PROMPTS = 16  # a site
SITES = 3


def main() -> None:
    """Runs what is missing and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory of the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=None, help="of " + ", ".join(EVERY))
    parser.add_argument("--quick", action="store_true", help="two rounds and tiny batches: does it run?")
    parser.add_argument("--exact-match", action="store_true", help="complete held-out prompts too")
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    options = parser.parse_args()
    wanted = options.only or EVERY
    losses: dict[str, list[float]] = {}
    matches: dict[str, list[float]] = {}
    sent: dict[str, float] = {}
    before: dict[str, float] = {}
    for seed in range(options.seeds):
        for name in wanted:
            directory = options.out / f"{name}-{seed}"
            figures = _figures(directory, name, seed, quick=options.quick)
            losses.setdefault(name, []).append(figures["heldout_loss_after"])
            if options.exact_match:
                matches.setdefault(name, []).append(_exact_match(directory))
            before[name] = figures["heldout_loss_before"]  # by person other records are held out
            sent[name] = figures["bytes_up"] / SITES
    result: dict[str, Any] = {"quick": options.quick, "seeds": options.seeds, "loss_before": before[wanted[0]]}
    others = [name for name in losses if before[name] != result["loss_before"]]
    result |= {f"loss_before_{name}": before[name] for name in others}
    result |= {f"loss_{name}": values for name, values in losses.items()}
    result |= {f"exact_match_{name}": values for name, values in matches.items()}
    result |= {f"bytes_sent_{name}": size for name, size in sent.items()}
    if open_runs := [losses[name] for name in WITHOUT_PRIVACY if name in losses]:
        begun = max(before[name] for name in WITHOUT_PRIVACY if name in losses)
        falls = [begun - min(together) for together in zip(*open_runs, strict=True)]
        for name, values in losses.items():
            start = begun if name in WARM else before[name]
            shares = [(start - loss) / fall for loss, fall in zip(values, falls, strict=False)]
            result[f"recovered_{name}"] = fmean(shares)
    rounded = {key: _rounded(value) for key, value in result.items()}
    print(json.dumps(rounded) if options.json else "\n".join(f"{key:40} {value}" for key, value in rounded.items()))


def _figures(directory: Path, name: str, seed: int, *, quick: bool) -> dict[str, float]:
    kept = directory / "utility.json"
    if not kept.exists():
        _simulate(directory, name, seed, quick=quick)
        summary = json.loads((directory / "summary.json").read_text())
        wanted = ("heldout_loss_before", "heldout_loss_after", "seconds", "bytes_up")
        kept.write_text(json.dumps({key: summary[key] for key in wanted}))
    figures = json.loads(kept.read_text())
    print(f"{directory.name}: {figures}", file=sys.stderr, flush=True)
    return dict(figures)


def _simulate(directory: Path, name: str, seed: int, *, quick: bool) -> None:
    options: list[str] = []
    if name == BY_PERSON:
        recipe, overrides = VALUES, ["data.person_field=person", "privacy.delta=5e-4", *_persons(directory.parent)]
    elif name in PUBLIC:
        recipe, overrides = PUBLIC[name], [*NO_NOISE, *_public_text(directory.parent / "public-text", PUBLIC[name])]
    elif name in WARM:
        public, overrides = WARM[name]
        first = directory.parent / f"{public}-{seed}"
        _figures(first, public, seed, quick=quick)
        recipe, options = PUBLIC[public], ["--continue-from", str(first)]
    else:
        recipe, overrides = RUNS[name]
    if quick:
        overrides = [*overrides, "rounds=2", "training.sample_rate=0.002", "data.heldout_limit=4"]
    main = "from sealora_server.cli import main; main()"
    command = [sys.executable, "-c", main, "simulate", recipe, *FASTER, *overrides, "--out", str(directory)]
    command += ["--resume"] if (directory / "run.json").exists() else options
    environment = {**os.environ, "SEALORA_INSECURE_SEED": f"utility-{seed}"}
    subprocess.run(command, check=True, env=environment, stdout=sys.stderr)


def _persons(directory: Path, each: int = 4) -> list[str]:
    """The demo's data with a person for every `each` records; the overrides that name the files."""
    overrides = []
    for source in sorted(Path(".cache/demo").glob("*.jsonl")):
        target = directory / "by-person" / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        seen = {"train": 0, "heldout": 0}
        with target.open("w", encoding="utf-8") as file:
            for line in source.read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                record["person"] = f"{record['split']}-{seen[record['split']] // each}"
                seen[record["split"]] += 1
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        overrides.append(f"sites.simulated.{source.stem}={target}")
    return overrides


def _public_text(directory: Path, recipe: str) -> list[str]:
    """Chapters of the classification that no hospital of the demo has; the overrides that name their files."""
    from sealora_client.demo_data.coding import Hospital, coding_lines
    from sealora_client.demo_data.files import write_sites

    chapters = {"digestive": "11", "skin": "12", "nervous": "6"}
    lines = coding_lines({name: Hospital(chapter, name) for name, chapter in chapters.items()})
    files = {site.name: str(site.path) for site in write_sites(directory, lines)}
    rate = 0.053 if recipe == DISTRIBUTED else 0.0265  # as many records a step as the recipe's own
    return [f"sites.simulated={json.dumps(files)}", f"training.sample_rate={rate}"]


def _exact_match(directory: Path) -> float:
    """The share of held-out prompts that the final adapter completes to the letter."""
    from sealora_client.model.adapted import adapted_model
    from sealora_client.model.generate import complete
    from sealora_client.site.directory import Site
    from sealora_common.adapter import adapter_kind
    from sealora_common.export.peft_directory import read_tensors
    from sealora_common.recipe import load_recipe

    recipe = load_recipe(directory / "recipe.yaml")
    model = adapted_model(recipe)
    model.write(adapter_kind(recipe).initial(model.layout))
    model.write(read_tensors(directory / "adapter"))
    right = asked = 0
    for site in sorted(recipe.sites.simulated):
        heldout = Site(directory / "sites" / site).records().heldout[:EXACT_MATCH_PROMPTS]
        answers = complete(model, [record.prompt for record in heldout], recipe.data)
        right += sum(answer.strip() == record.response for answer, record in zip(answers, heldout, strict=True))
        asked += len(heldout)
    return right / asked


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
