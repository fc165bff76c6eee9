"""What a recipe teaches, without its messages: each site's part of a round and the server's step, and nothing between.

    sealora-site model fetch smollm2-135m-instruct && sealora-site demo-data .cache/demo
    python tests/benchmarks/learning.py configs/demo-icd10-distributed.yaml --seeds 3 --json server.momentum=0.5

It is the arm `federated` of `sealora compare`, with the norms of gradients, for trying what learns more at the same
epsilon before a whole federation is run for it (`utility.py`). Figures are exact, the mean over the sites.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean, median

from sealora_client.simulated import SimulatedSites
from sealora_common.adapter import adapter_kind
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import load_recipe
from sealora_server.comparison.arms import arms_of
from sealora_server.comparison.unsealed_run import run_unsealed


def main() -> None:
    """Runs every seed and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="settings of the recipe, KEY=VALUE")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    options = parser.parse_intermixed_args()
    recipe = load_recipe(options.recipe, options.overrides)
    sites = SimulatedSites.unsealed(recipe)
    arms = {arm.key: arm for arm in arms_of(recipe, {name: sites.units((name,)) for name in sites.names})}

    def figure(arm: str, seed: int) -> tuple[float, list[float], float]:
        result = run_unsealed(sites, arms[arm], seed)
        loss = fmean(each.mean for each in sites.heldout(result.adapter))
        if arm != "base":
            print(f"seed {seed}: {loss:.4f} in {result.seconds:.0f} s", file=sys.stderr, flush=True)
        return loss, list(result.norms), result.seconds

    runs = [figure("federated", seed) for seed in range(options.first_seed, options.first_seed + options.seeds)]
    figures = {
        "settings": options.overrides,
        "parameters": adapter_kind(recipe).shared(sites.layout).size,
        "noise_multiplier": privacy_plan(recipe, len(sites.names)).training.event.noise_multiplier,
        "loss_before": round(figure("base", 0)[0], 4),
        "loss_after": [round(loss, 4) for loss, _, _ in runs],
        "median_norms": [[round(norm, 3) for norm in norms] for _, norms, _ in runs],
        "seconds": round(median(seconds for _, _, seconds in runs), 1),
    }
    print(json.dumps(figures) if options.json else "\n".join(f"{key:18} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
