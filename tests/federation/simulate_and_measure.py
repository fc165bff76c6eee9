"""Run as a process of its own: simulates a federation and prints how many base models this process holds.

python simulate_and_measure.py RECIPE RUN ENGINE
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))


def main(recipe: Path, run: Path, engine: str) -> None:
    from sealora_client.model import adapted
    from sealora_server.run import rounds
    from sealora_server.run.stored.records import EvaluationRecord
    from sealora_server.simulation.engine import Engine, run_engine

    from tiny_federation import prepare_run

    # The final evaluation is a round like the one before it, without the training: it would only take time.
    record = EvaluationRecord(heldout_loss=0.0, survivors=())
    with mock.patch.object(os, "fsync"), mock.patch.object(rounds._Run, "_evaluate", return_value=record):
        run_engine(Engine(engine), run, list(prepare_run(recipe, run).names))
    print(json.dumps({"models": len(adapted._loaded)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
