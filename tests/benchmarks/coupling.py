"""How far one record moves the clipped sum, and whether it moves other records' gradients.

    python tests/benchmarks/coupling.py --json          # some 20 minutes; needs the demo model and data
    python tests/benchmarks/coupling.py --quick --json  # a minute, on tiny models; the time ratio means nothing

A sample is drawn, and once more with one record added; the difference of the two clipped sums is measured on the
integer grid, in units of the clipping norm, and the other records' rows are compared bit by bit. Added are records
drawn at random and crafted ones: of a token, of the greatest length, at each edge of the padded lengths, and as the
one that fills a micro-batch or begins another. Samples are of mixed lengths, of one length, empty, and just full. Tiny
models are tried in every dtype, the demo's in NF4. The same is done with shapes that follow the sample, as they once
did (`variable_shapes`): that is what the figures look like where examples meet. What a fixed shape costs is the time of
a demo step over that of the same step with variable shapes, in turns, the median over steps.

Progress goes to stderr; with `--json` the last line of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from sealora_common.adapter import adapter_kind

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "client")]

UNITS = 1 << 24
SITES = ("heart-hospital", "cancer-centre", "maternity-clinic")
DTYPES = (
    ("none", "float32"),
    ("none", "bfloat16"),
    ("none", "float16"),
    ("nf4", "float32"),
    ("nf4", "bfloat16"),
    ("nf4", "float16"),
)
VARIABLE_ROWS = 16  # of the demo recipe while shapes were variable


def main() -> None:
    """Runs everything and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--quick", action="store_true", help="tiny models only: does it run?")
    parser.add_argument("--tries", type=int, default=12, help="records added at random on the demo model")
    parser.add_argument("--steps", type=int, default=9, help="demo steps timed each way")
    parser.add_argument("--threads", type=int, default=1, help="more only on an idle machine")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before torch is imported
    figures = measure(quick=options.quick, tries=options.tries, steps=options.steps, threads=options.threads)
    print(json.dumps(figures) if options.json else "\n".join(f"{key:40} {value}" for key, value in figures.items()))


def measure(*, quick: bool, tries: int, steps: int, threads: int) -> dict[str, Any]:
    """All figures by name; `quick` ones have the same names."""
    import torch

    torch.set_num_threads(threads)
    started = time.monotonic()
    figures: dict[str, Any] = {"quick": quick, "threads": threads}
    found = [_coupling(name, *_tiny(kind, *dtype), tries=4) for name, kind, dtype in _tiny_models(quick=quick)]
    model, recipe, examples = _tiny("llama", "nf4", "bfloat16") if quick else _demo()
    found.append(_coupling("demo", model, recipe, examples, tries=2 if quick else tries))
    figures["tries"] = sum(each["tries"] for each in found)
    for suffix in ("", "_variable_shapes"):
        figures[f"worst_sum_change{suffix}"] = max(each[f"worst{suffix}"] for each in found)
        figures[f"others_changed{suffix}"] = sum(each[f"changed{suffix}"] for each in found)
    figures["demo_worst_sum_change"] = found[-1]["worst"]
    figures["demo_worst_sum_change_variable_shapes"] = found[-1]["worst_variable_shapes"]
    figures |= _times(model, recipe, examples, steps=2 if quick else steps)
    figures["refused"] = _refused()
    figures["benchmark_seconds"] = round(time.monotonic() - started, 1)
    return figures


def _tiny_models(*, quick: bool) -> Iterator[tuple[str, str, tuple[str, str]]]:
    from tiny_models import KINDS

    for kind in KINDS[:1] if quick else KINDS:
        for dtype in DTYPES:
            yield f"{kind} {'/'.join(dtype)}", kind, dtype


def _tiny(kind: str, quantization: str, dtype: str) -> tuple[Any, Any, Any]:
    """A tiny model, a recipe for it, and random examples of a person's lengths."""
    import numpy as np

    from single_examples import load, random_examples, recipe_for
    from tiny_models import make_tiny_model

    base = make_tiny_model(Path(tempfile.mkdtemp(prefix="tiny-")), kind)
    sections = {"model": {"quantization": quantization, "compute_dtype": dtype}}
    lengths = np.random.default_rng(0).integers((2, 1), (50, 28), (60, 2)).tolist()
    recipe = recipe_for(base, data={"max_tokens": 79}, **sections)
    return load(base, **sections), recipe, random_examples([tuple(pair) for pair in lengths])


def _demo() -> tuple[Any, Any, Any]:
    """The demo's model under a random adapter, its recipe, and the records of all three hospitals."""
    from sealora_client.data.examples import to_examples
    from sealora_client.data.records import read_records
    from sealora_client.model.adapted import AdaptedModel
    from sealora_common.recipe import load_recipe

    from single_examples import write_random_adapter

    recipe = load_recipe(ROOT / "configs" / "demo-icd10.yaml", [])
    model = AdaptedModel.load(recipe)
    write_random_adapter(model)
    examples = []
    for site in SITES:
        path = ROOT / ".cache" / "demo" / f"{site}.jsonl"
        if not path.is_file():
            raise SystemExit(f"{path} is missing: make it with `sealora-site demo-data .cache/demo`")
        examples += to_examples(read_records(path, recipe.data).train, model.tokenizer, recipe.data)
    return model, recipe, examples


# How far a record reaches.


def _coupling(name: str, model: Any, recipe: Any, examples: Sequence[Any], *, tries: int) -> dict[str, Any]:
    """The largest change of the sum and how many other rows changed, with fixed and with variable shapes."""
    found: dict[str, Any] = {"tries": 0, "worst": 0.0, "changed": 0}
    found |= {"worst_variable_shapes": 0.0, "changed_variable_shapes": 0}
    for sample, added in _neighbours(recipe, examples, tries):
        for suffix, summed in (("", _fixed), ("_variable_shapes", _variable)):
            before, rows_before = summed(model, recipe, sample)
            after, rows_after = summed(model, recipe, [*sample, added])
            squares = sum(int(value) ** 2 for value in (after - before).tolist())
            found[f"worst{suffix}"] = max(found[f"worst{suffix}"], math.sqrt(squares) / UNITS)
            found[f"changed{suffix}"] += sum((rows_before - rows_after).values())
        found["tries"] += 1
    _progress(f"{name}: {found}")
    return found


def _neighbours(recipe: Any, examples: Sequence[Any], tries: int) -> Iterator[tuple[list[Any], Any]]:
    """Samples, and a record to add to each."""
    import numpy as np

    from sealora_client.data.example import Example
    from sealora_client.model.fixed_shape import padded_lengths

    generator = np.random.default_rng(0)
    rows, longest = recipe.training.micro_batch_size, recipe.data.max_tokens

    def made(size: int) -> Any:
        return Example(generator.integers(3, 300, size).astype(np.int32), size // 2)

    def drawn(count: int) -> list[Any]:
        return [examples[place] for place in generator.permutation(len(examples))[:count]]

    for _ in range(tries):
        yield drawn(int(generator.integers(1, 2 * rows + 1))), drawn(1)[0]
    edges = [edge + step for edge in padded_lengths(longest)[:-1] for step in (-1, 0)]
    crafted = [made(size) for size in sorted({2, longest, *(edge for edge in edges if edge <= longest)})]
    mixed = drawn(rows + rows // 2)
    for added in crafted:
        yield mixed, added
    short = [made(20) for _ in range(2 * rows)]
    for count in (0, 1, rows - 1, rows, 2 * rows - 1):  # an empty sample, and micro-batches that are just full
        yield short[:count], made(20)
        yield short[:count], made(longest)


def _fixed(model: Any, recipe: Any, sample: Sequence[Any]) -> tuple[Any, Counter[Any]]:
    """The clipped sum as it is made in a round, and the bits of every row of it."""
    import numpy as np

    from sealora_client.data.population import Population
    from sealora_client.training import clipped_sum
    from sealora_client.training.clipped_sum import ClippedSum
    from sealora_common.entropy import SystemEntropy

    layout = adapter_kind(recipe).trained(model.layout, 1)
    population = Population.of(sample or [None])
    drawn = np.arange(len(sample))
    with patch.object(clipped_sum, "poisson_batch", lambda *_: drawn), _watched() as rows:
        sums = ClippedSum(
            model, layout, population, plan=_plan(recipe), recipe=recipe, clip_norm=1.0, entropy=SystemEntropy()
        )
        with sums:
            return sums.draw(), rows


def _variable(model: Any, recipe: Any, sample: Sequence[Any]) -> tuple[Any, Counter[Any]]:
    """The same with shapes that follow the sample."""
    import torch
    from variable_shapes import add_clipped

    from sealora_client.training.gradients.per_example import PerExampleGradients

    layout = adapter_kind(recipe).trained(model.layout, 1)
    model.train_only(layout)
    total = torch.zeros(layout.size, dtype=torch.float64)
    rows_at_once = recipe.training.micro_batch_size
    with _watched() as rows, PerExampleGradients(model.tensors_of(layout), rows_at_once) as gradients:
        add_clipped(model, gradients, sample, total, clip_norm=1.0, grid_steps=UNITS)
    return total, rows


def _plan(recipe: Any) -> Any:
    """What is benchmarked: sums, whose noise nobody draws."""
    from sealora_common.privacy.accounting import PrivacyEvent
    from sealora_common.privacy.releases import TrainingPlan

    training = recipe.training
    return TrainingPlan.of(recipe, PrivacyEvent(1.0, training.sample_rate, training.steps_per_round), UNITS)


class _watched:  # noqa: N801  # a context manager
    """Counts the rows that are clipped meanwhile, by their bits; rows of zeros, which dummies leave, do not count."""

    def __enter__(self) -> Counter[Any]:
        from sealora_client.training.gradients.per_example import PerExampleGradients

        real, rows = PerExampleGradients.truncated_sum_, Counter[Any]()

        def watched(gradients: Any, *arguments: Any, **options: Any) -> Any:
            bits = gradients.fingerprints()
            outcome = real(gradients, *arguments, **options)
            for fingerprint, norm in zip(bits.tolist(), outcome.norms.tolist(), strict=True):
                rows[(*fingerprint, norm)] += norm != 0
            return outcome

        self._patch = patch.object(PerExampleGradients, "truncated_sum_", watched)
        self._patch.start()
        return rows

    def __exit__(self, *error: object) -> None:
        self._patch.stop()


# What it costs, and who is refused.


def _times(model: Any, recipe: Any, examples: Sequence[Any], *, steps: int) -> dict[str, Any]:
    """Seconds of a step's clipped sum each way, on the same samples, in turns."""
    import numpy as np
    import torch
    from variable_shapes import add_clipped

    from sealora_client.data.population import Population
    from sealora_client.training import clipped_sum
    from sealora_client.training.clipped_sum import ClippedSum
    from sealora_client.training.gradients.per_example import PerExampleGradients
    from sealora_common.entropy import SystemEntropy

    layout = adapter_kind(recipe).trained(model.layout, 1)
    population = Population.of(examples)
    sums = ClippedSum(
        model, layout, population, plan=_plan(recipe), recipe=recipe, clip_norm=1.0, entropy=SystemEntropy()
    )
    gradients = PerExampleGradients(model.tensors_of(layout), VARIABLE_ROWS)
    expected = recipe.training.sample_rate * len(examples) / len(SITES)
    generator = np.random.default_rng(0)
    timings: dict[str, list[float]] = {"fixed": [], "variable": []}

    def fixed(sample: Any) -> None:
        with patch.object(clipped_sum, "poisson_batch", lambda *_: sample), sums:
            sums.draw()

    def variable(sample: Any) -> None:
        model.model.train()
        total = torch.zeros(layout.size, dtype=torch.float64)
        with gradients:
            drawn = [examples[place] for place in sample]
            add_clipped(model, gradients, drawn, total, clip_norm=1.0, grid_steps=UNITS)
        model.model.eval()

    ways = {"fixed": fixed, "variable": variable}
    for number in range(-1, steps):
        sample = np.flatnonzero(generator.random(len(examples)) < expected / len(examples))
        for name in ways if number % 2 else reversed(ways):
            started = time.perf_counter()
            ways[name](sample)
            if number >= 0:  # the first warms up
                timings[name].append(time.perf_counter() - started)
        if number >= 0:
            _progress(f"{len(sample)} records: " + ", ".join(f"{name} {timings[name][-1]:.2f} s" for name in ways))
    ratios = [mine / theirs for mine, theirs in zip(timings["fixed"], timings["variable"], strict=True)]
    return {
        "seconds_fixed_shape": median(timings["fixed"]),
        "seconds_variable_shape": median(timings["variable"]),
        "time_ratio_fixed_shape": median(ratios),
    }


def _refused() -> dict[str, str]:
    """What is said to models that do not leave padding out."""
    from sealora_client.training.gradients.batch_invariance import require_batch_invariant
    from sealora_common.errors import ModelError

    from single_examples import load, recipe_for
    from tiny_models import UNMASKED, make_tiny_model

    said = {}
    for kind in UNMASKED:
        base = make_tiny_model(Path(tempfile.mkdtemp(prefix="tiny-")), kind)
        settings = {"model": {"attention": "eager"}}
        try:
            require_batch_invariant(load(base, **settings), recipe_for(base, **settings))
            said[kind] = "is NOT refused"
        except ModelError as error:
            said[kind] = str(error)
    return said


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
