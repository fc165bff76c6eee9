"""Sealing's cost and exactness, next to Flower's SecAgg+ and to TenSEAL's CKKS, on one core.

    python tests/benchmarks/seal.py --json            # about three minutes; needs the extra `bench`
    python tests/benchmarks/seal.py --quick --json    # seconds; the figures mean nothing

Progress goes to stderr; with `--json` the last line of stdout is one JSON object. Every time is the median of
repeats, in which the candidates take turns, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from typing import Any

# Before numpy is imported, here or in the server's process.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ.update(FLWR_TELEMETRY_ENABLED="0", FLWR_DISABLE_UPDATE_CHECK="1")


def main() -> None:
    """Runs everything and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--quick", action="store_true", help="small vectors and few sites: does it run?")
    options = parser.parse_args()
    figures = measure(quick=options.quick)
    rounded = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps(rounded) if options.json else "\n".join(f"{key:40} {value}" for key, value in rounded.items()))


def measure(*, quick: bool) -> dict[str, Any]:
    """All figures by name; `quick` ones have the same names."""
    import seal_accuracy
    import seal_hybrid
    import seal_influence
    import seal_masking
    import seal_opening

    started = time.monotonic()
    figures: dict[str, Any] = {"quick": quick, "machine": platform.processor() or platform.machine()}
    for name, length, repeats in (("1m", 1_000_000, 9), ("10m", 10_000_000, 5)):
        _progress(f"masking {name} parameters under 10 neighbours and a mask of its own")
        timings = seal_masking.measure(
            length // 100 if quick else length, neighbours=10, repeats=1 if quick else repeats
        )
        figures["flower_bytes_per_param"] = timings.pop("flower_bytes_per_param")
        figures |= {f"{key}_{name}": value for key, value in timings.items()}
    _progress("key agreement")
    figures |= seal_masking.measure_agreement(repeats=20 if quick else 500)
    _progress("errors of the opened mean, and CKKS")
    figures |= seal_accuracy.measure(length=8192 if quick else 131_072, sites=10)
    _progress("differential-privacy noise of the demo recipe next to the encoding's error")
    figures |= seal_accuracy.measure_dp_noise(length=10_000 if quick else 500_000)
    _progress("hybrid keys and signatures at ten sites, and what a round's messages weigh")
    figures |= seal_hybrid.measure(sites=10, length=50_000 if quick else 10_000_000, repeats=1 if quick else 3)
    for sites in (10, 100):
        weighed = sites // 3 if quick else sites
        figures[f"bytes_per_site_round_overhead_{sites}"] = seal_hybrid.bytes_overhead(weighed)
    _progress("a liar's influence on the mean")
    figures["influence_ratio"] = seal_influence.measure(trials=20 if quick else 500)
    federations = {16: 5, 64: 3, 256: 1}
    for sites, repeats in federations.items():
        _progress(f"opening with {sites} sites")
        figures |= seal_opening.measure(
            sites=sites // 4 if quick else sites,
            length=20_000 if quick else 1_000_000,
            repeats=1 if quick else repeats,
            named=sites,
        )
    for name in ("server_memory", "server_session_memory"):
        figures[f"{name}_ratio_256_16"] = figures[f"{name}_mb_256"] / figures[f"{name}_mb_16"]
    figures["benchmark_seconds"] = time.monotonic() - started
    return figures


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
