"""What simulations of ever more sites take of one machine: memory and time, with either engine.

    python tests/benchmarks/many_sites.py --json                          # 2, 50 and 200 sites, either engine
    python tests/benchmarks/many_sites.py --sites 2 50 --engines inline --json

Each is `sealora simulate` in processes of its own, on a tiny Llama (two layers of width 64), with six records a site,
noise at each site, one round and the evaluation after it. `ENGINE_mib_N_sites` is the most that all its processes held
at once, what they share counted once (PSS); `ENGINE_seconds_N_sites` is from the command's start to its end, so that
those of two sites are mostly what it takes to start; `ENGINE_ratio` compares the memory of the most sites with that of
the fewest. Ray starts a worker, with a base model of its own, for each core.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

_SECONDS = 4 * 3600.0


def main() -> None:
    """Runs everything and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--sites", type=int, nargs="+", default=[2, 50, 200])
    parser.add_argument("--engines", nargs="+", choices=["inline", "ray"], default=["inline", "ray"])
    parser.add_argument("--adversary", choices=["malicious", "curious"], default="malicious")
    options = parser.parse_args()
    figures: dict[str, object] = {
        "adversary": options.adversary,
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
    }
    for engine in options.engines:
        held = {}
        for count in options.sites:
            held[count], seconds = _simulated(engine, count, options.adversary)
            figures[f"{engine}_mib_{count}_sites"] = round(held[count] / 2**20)
            figures[f"{engine}_seconds_{count}_sites"] = round(seconds)
            print(figures, file=sys.stderr, flush=True)
        figures[f"{engine}_ratio"] = round(held[max(held)] / held[min(held)], 3)
    print(json.dumps(figures) if options.json else "\n".join(f"{key:28} {value}" for key, value in figures.items()))


def _simulated(engine: str, count: int, adversary: str) -> tuple[int, float]:
    """Most bytes held at once, and seconds."""
    from process_tree import taken

    from tiny_federation import PRIVATE, write_federation
    from tiny_models import make_tiny_model

    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        recipe = write_federation(
            directory / "federation",
            make_tiny_model(directory / "base"),
            count=count,
            records=6,
            rounds=1,
            privacy=PRIVATE,
            training={"steps_per_round": 1, "sample_rate": 0.3},
            sealing={"adversary": adversary, "min_survivors": 2},
            sites={"minimum": 2, "stage_timeout": _SECONDS, "training_timeout": _SECONDS},
        )
        command = [sys.executable, "-c", "from sealora_server.cli import main; main()", "simulate", recipe]
        command += ["--out", directory / "run", "--engine", engine]
        environment = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "RAY_worker_niceness": "0"}
        done = taken(command, environment, output=directory / "said", timeout=_SECONDS)
        if done.status != 0:
            raise SystemExit(done.said[-3000:])
        return done.peak, done.seconds


if __name__ == "__main__":
    main()
