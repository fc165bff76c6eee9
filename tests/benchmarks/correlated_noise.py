"""Whether noise that is correlated over steps would beat independent noise, by calculation; nothing is trained.

    python tests/benchmarks/correlated_noise.py                    # some fifteen minutes on one core
    python tests/benchmarks/correlated_noise.py --only own         # our own settings alone: a minute or two
    python tests/benchmarks/correlated_noise.py --quick --json     # seconds: does it run?

Three ways at equal epsilon, delta, expected batch and number of steps T:

- independent noise, every record drawn with probability q at every step: what Sealora does;
- banded: the records parted into b parts, which take turns; at its turn a part's records are drawn with probability
  b q, so the expected batch is the same. The noise is correlated over b steps by a matrix of b bands. It costs what
  DP-SGD of ceil(T / b) steps at the rate b q costs (Choquette-Choo et al. 2023, arXiv:2306.08153, Thm 4), so both ways
  are calibrated by the project's own accounting. b = 1 is the first way;
- unsampled: every record takes part once in each 1 / q steps, in a fixed order, for sites that cannot sample.

The figures are noise over that of independent, sampled noise: 0.5 is half the noise. `rms` is over all iterates, `last`
is the last one's. Matrices have the least `rms` there is for up to `EXACT` steps, and above it the least among Toeplitz
ones; the number of bands is the one that serves `rms` best. What the workloads are: `correlated_strategies.workload`.

`larger` is independent noise in fewer, larger steps: b at once, with b times the learning rate and batch, so that as
many records are worked on and the adapter moves as far. It costs the same epsilon as b bands, and shows how much of
what bands win is to be had without them. `twenty` is the same with at least `FEWEST` steps left, and `twenty_banded`
those steps with the bands that serve them best.

`optimisers` are drawn, not calculated: noise over signal in the iterates of SGD and Adam, again over that of
independent noise (`correlated_optimisers`).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
from correlated_optimisers import OPTIMISERS, SIGNAL, noise_over_signal
from correlated_strategies import (
    WORKLOADS,
    Array,
    banded_optimum,
    banded_root,
    banded_toeplitz,
    buffered_toeplitz,
    errors,
    participations,
    root_column,
    workload,
)
from scipy.linalg import toeplitz
from scipy.special import logsumexp

from sealora_common.privacy.accounting import calibrate_noise

EXACT = 200
FEWEST = 20
STEPS = (6, 20, 50, 100, 200, 500, 1000, 2000)
RATES = {0.1: 1e-4, 0.03: 1e-5, 0.01: 1e-5, 0.003: 1e-6, 0.001: 1e-6}  # and a delta for so many records
EPSILONS = (1.0, 2.0, 8.0)


@dataclass(frozen=True)
class Setting:
    """A training to be protected: T steps, sampling rate q, and a budget."""

    name: str
    steps: int
    rate: float
    epsilon: float
    delta: float

    @property
    def bands(self) -> list[int]:
        """Numbers of bands to try: those that leave few whole turns, and powers of two, as far as b q is a rate."""
        most = min(self.steps, int(1 / self.rate + 1e-9))
        few = {math.ceil(self.steps / turns) for turns in range(1, 5)}
        return sorted({b for b in {2**k for k in range(12)} | few | {most} if b <= most})

    def larger(self, steps: int) -> Setting:
        """So many steps at once."""
        return replace(self, steps=math.ceil(self.steps / steps), rate=min(1.0, self.rate * steps))


OWN = [
    ("demo, distributed, 6 rounds", 6, 0.03, 1e-4),
    ("distributed, 100 rounds", 100, 0.03, 1e-4),
    ("distributed, 200 rounds", 200, 0.03, 1e-4),
    ("the same by person, 100 rounds", 100, 0.03, 5e-4),
    ("demo, local, 100 rounds of 2", 200, 0.03, 1e-4),
    ("demo, local, 200 rounds of 2", 400, 0.03, 1e-4),
    ("hospital-8b, 20 rounds of 4", 80, 0.02, 1e-6),
    ("hospital-8b, 100 rounds of 4", 400, 0.02, 1e-6),
    ("hospital-8b, 200 rounds of 4", 800, 0.02, 1e-6),
]
OPTIMISED = ("distributed, 100 rounds", "hospital-8b, 20 rounds of 4", "hospital-8b, 100 rounds of 4")


@cache
def noise(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """The project's noise multiplier."""
    return calibrate_noise(epsilon, delta, min(rate, 1.0), steps)


@lru_cache(maxsize=64)
def strategy(name: str, steps: int, bands: int) -> Array:
    """The best matrix found for a workload."""
    target = workload(name, steps)
    found = [banded_root(name, steps, bands), banded_toeplitz(name, steps, bands)]
    best = min(found, key=lambda matrix: errors(target, matrix)[0])
    return banded_optimum(name, best, bands) if steps <= EXACT else best


@cache
def strategy_errors(name: str, steps: int, bands: int) -> tuple[float, float]:
    """(rms, last) of that matrix."""
    return errors(workload(name, steps), strategy(name, steps, bands))


def banded(setting: Setting) -> dict[str, Any]:
    """Bands and `larger` against independent noise."""
    sigmas = _sigmas(setting)
    row: dict[str, Any] = {**vars(setting), "sigma": sigmas[1]}
    for name in WORKLOADS:
        base = errors(workload(name, setting.steps), None)
        best = _best_bands(setting, name)
        rms, last = strategy_errors(name, setting.steps, best)
        share = sigmas[best] / sigmas[1]
        row |= {f"{name}_bands": best, f"{name}_rms": share * rms / base[0], f"{name}_last": share * last / base[1]}
    row["sigma_bands"] = sigmas[row["constant_bands"]]
    # Of b steps at once: ceil(T / b) of them, and the noise of a step counts b times as much, over b times the batch.
    larger = {
        b: sigma / sigmas[1] * math.sqrt((setting.larger(b).steps + 1) / (setting.steps + 1))
        for b, sigma in sigmas.items()
    }
    for name, fewest in (("larger", 1), ("twenty", FEWEST)):
        best = min((b for b in larger if b == 1 or setting.larger(b).steps >= fewest), key=lambda b: larger[b])
        row |= {f"{name}_steps": setting.larger(best).steps, f"{name}_rms": larger[best]}
    fewer = setting.larger(best)
    bands = _best_bands(fewer, "constant")
    further = _sigmas(fewer)[bands] * strategy_errors("constant", fewer.steps, bands)[0]
    row["twenty_banded_rms"] = (
        larger[best] * further / (sigmas[best] * errors(workload("constant", fewer.steps), None)[0])
    )
    return row


def _sigmas(setting: Setting) -> dict[int, float]:
    """The noise multiplier by number of bands."""
    return {
        b: noise(setting.epsilon, setting.delta, b * setting.rate, math.ceil(setting.steps / b)) for b in setting.bands
    }


def _best_bands(setting: Setting, name: str) -> int:
    sigmas = _sigmas(setting)
    return min(sigmas, key=lambda b: sigmas[b] * strategy_errors(name, setting.steps, b)[0])


def optimisers(setting: Setting, *, draws: int) -> dict[str, Any]:
    """Bands, as many as serve best, and `twenty`, under each optimiser, over independent noise under the same."""
    sigmas = _sigmas(setting)
    row: dict[str, Any] = vars(setting).copy()
    for name, optimiser in OPTIMISERS.items():
        signal = SIGNAL * sigmas[1]  # of the sum of one step, b times as large in a step of b at once
        base = noise_over_signal(optimiser, setting.steps, signal, sigmas[1], None, draws)
        found = {
            (b, suited): noise_over_signal(
                optimiser, setting.steps, signal, sigma, strategy(suited, setting.steps, b), draws
            )
            for b, sigma in sigmas.items()
            for suited in ("constant", "momentum")
            if b > 1
        }
        best = min(found, key=lambda way: found[way])
        few = {b: s for b, s in sigmas.items() if b == 1 or setting.larger(b).steps >= FEWEST}
        fewer = min(noise_over_signal(optimiser, setting.larger(b).steps, b * signal, s, None, draws)
                    for b, s in few.items())  # fmt: skip
        row |= {f"{name}_bands": best[0], f"{name}_rms": found[best] / base, f"{name}_twenty_rms": fewer / base}
    return row


def unsampled(setting: Setting) -> dict[str, Any]:
    """A fixed order instead of sampling: independent, banded, square-root and BLT noise."""
    steps, apart = setting.steps, min(setting.steps, int(1 / setting.rate + 1e-9))
    times = math.ceil(steps / apart)
    target = workload("constant", steps)
    base = errors(target, None)
    sampled = noise(setting.epsilon, setting.delta, setting.rate, steps)
    once = noise(setting.epsilon, setting.delta, 1.0, 1)
    often = noise(setting.epsilon, setting.delta, 1.0, times)
    root = root_column(np.ones(steps))
    blt = buffered_toeplitz(steps, apart)
    figures = {
        "independent": [often * error for error in base],
        "banded": [often * error for error in strategy_errors("constant", steps, apart)],
        "root": [once * participations(root, apart) * e for e in errors(target, np.tril(toeplitz(root)))],
        "blt": [once * participations(blt[:, 0], apart) * error for error in errors(target, blt)],
    }
    row: dict[str, Any] = {**vars(setting), "apart": apart, "times": times}
    for name, (rms, last) in figures.items():
        row |= {f"{name}_rms": rms / sampled / base[0], f"{name}_last": last / sampled / base[1]}
    return row


def checks(*, draws: int) -> dict[str, float]:
    """The same figures a second way; each is near 1, but for the last two, which are deltas beside 0.01."""
    generator = np.random.default_rng(20260101)
    steps, bands = 24, 6
    setting = Setting("check", steps, 0.05, 2.0, 1e-5)
    target = workload("cooldown", steps)
    matrix = strategy("cooldown", steps, bands)
    iterates = target @ np.linalg.solve(matrix, generator.standard_normal((steps, draws)))
    rms, last = errors(target, matrix)
    one_band = banded(Setting("one band", 6, 0.6, 2.0, 1e-5))  # b q <= 1 leaves b = 1 alone
    column = root_column(np.ones(9))
    by_hand = max(
        float(np.linalg.norm(np.tril(toeplitz(column))[:, list(taken)].sum(axis=1)))
        for count in range(1, 5)
        for taken in itertools.combinations(range(9), count)
        if all(b - a >= 3 for a, b in itertools.pairwise(taken))
    )
    return {
        "one_band_noise": one_band["sigma"] * one_band["constant_rms"] / calibrate_noise(2.0, 1e-5, 0.6, 6),
        "largest_column_norm": float(np.linalg.norm(matrix, axis=0).max()),
        "sampled_rms": float(np.sqrt(np.mean(iterates**2))) / rms,
        "sampled_last": float(np.sqrt(np.mean(iterates[-1] ** 2))) / last,
        "participations": participations(column, 3) / by_hand,
        "root_to_best": errors(target, matrix)[0] / errors(target, banded_root("cooldown", steps, bands))[0],
        "delta_of_b_bands": _sampled_delta(setting, bands, bands, draws),
        "delta_of_too_many_bands": _sampled_delta(setting, bands, steps, draws),
    }


def _sampled_delta(setting: Setting, parts: int, bands: int, draws: int) -> float:
    """The delta at epsilon 1 of the mechanism itself, by drawing its outputs, with noise calibrated for 0.01.

    The record moves every gradient that it is drawn for by the clipping norm; it is in the first of `parts`. Nothing
    of the theorem is used: outputs are drawn with the matrix, and likelihoods are sums over all that may be drawn.
    """
    generator = np.random.default_rng(20260102)
    rate = parts * setting.rate
    turns = range(0, setting.steps, parts)
    sigma = calibrate_noise(1.0, 0.01, rate, len(turns))
    columns = strategy("constant", setting.steps, bands)[:, list(turns)]
    drawn = np.array(list(itertools.product((0, 1), repeat=len(turns))))
    means = drawn @ columns.T
    chances = drawn.sum(axis=1) * math.log(rate) + (len(turns) - drawn.sum(axis=1)) * math.log1p(-rate)

    def loss(outputs: Array) -> Array:
        exponents = (outputs @ means.T - np.sum(means**2, axis=1) / 2) / sigma**2
        return np.asarray(logsumexp(exponents + chances, axis=1))

    blank = sigma * generator.standard_normal((draws, setting.steps))
    there = sigma * generator.standard_normal((draws, setting.steps))
    there += (generator.random((draws, len(turns))) < rate) @ columns.T
    removed = np.mean(np.clip(-np.expm1(1.0 - loss(there)), 0, None))
    added = np.mean(np.clip(-np.expm1(1.0 + loss(blank)), 0, None))
    return float(max(removed, added))


def measure(*, only: str | None, quick: bool, epsilons: tuple[float, ...]) -> dict[str, Any]:
    """All figures: `checks`, and lists of rows under each part's name."""
    draws = 20_000 if quick else 400_000
    own = [Setting(name, steps, q, epsilon, delta) for name, steps, q, delta in OWN for epsilon in epsilons]
    grid = [Setting("", steps, q, epsilon, delta) for epsilon in epsilons for steps in STEPS
            for q, delta in RATES.items()]  # fmt: skip
    if quick:
        own, grid = own[:1], [Setting("", 20, 0.1, epsilons[0], 1e-4)]
    drawn = [setting for setting in own if setting.name in OPTIMISED]
    parts: dict[str, tuple[Callable[[Setting], dict[str, Any]], list[Setting]]] = {
        "own": (banded, own),
        "frontier": (banded, grid),
        "unsampled": (unsampled, own),
        "optimisers": (partial(optimisers, draws=draws // 40), drawn or own),
    }
    figures: dict[str, Any] = {"checks": checks(draws=draws)}
    for part, (rows, settings) in parts.items():
        figures[part] = []
        for setting in settings if only in (None, part) else []:
            figures[part].append(rows(setting))
            print(part, setting, file=sys.stderr, flush=True)
    return figures


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("own", "frontier", "unsampled", "optimisers"), default=None)
    parser.add_argument("--epsilons", type=float, nargs="+", default=EPSILONS)
    parser.add_argument("--quick", action="store_true", help="one setting of each kind: does it run?")
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line, after the tables")
    options = parser.parse_args()
    figures = measure(only=options.only, quick=options.quick, epsilons=tuple(options.epsilons))
    for part, rows in figures.items():
        print(f"\n{part}")
        for row in [figures["checks"]] if part == "checks" else rows[:1]:
            print("| " + " | ".join(row) + " |")
        for row in [figures["checks"]] if part == "checks" else rows:
            print("| " + " | ".join(_text(value) for value in row.values()) + " |")
    if options.json:
        print(json.dumps(figures))


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
