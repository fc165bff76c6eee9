"""Run as a process of its own: simulates a federation inline and prints its peak memory in KiB and its models.

python simulate_and_measure.py RECIPE RUN
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))


def main(recipe: Path, run: Path) -> None:
    from sealora_client.model import adapted
    from sealora_server.run import rounds
    from sealora_server.run.store import EvaluationRecord

    from tiny_federation import run_inline

    # The final evaluation is a round like the one before it, without the training: it would only take time.
    record = EvaluationRecord(heldout_loss=0.0, survivors=())
    with mock.patch.object(os, "fsync"), mock.patch.object(rounds._Run, "_evaluate", return_value=record):
        run_inline(recipe, run)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"peak": peak, "models": len(adapted._loaded)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
