"""What a run taught in each task, or in each language: the held-out loss of every site, by `data.task_field`.

    python tests/benchmarks/by_task.py runs/currencies

The figures are exact, without noise: they are for the site that holds the records, and not to be passed on. A site of a
real federation has the same from its own records and the adapter that was published.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from sealora_client.data.load import load_data, read_records_of
from sealora_client.evaluation.heldout_loss import heldout_loss
from sealora_client.model.adapted import AdaptedModel, adapted_model
from sealora_client.objective.choice import objective_of
from sealora_common.adapter import adapter_kind
from sealora_common.export.peft_directory import read_tensors
from sealora_common.recipe import Recipe, load_recipe


def main() -> None:
    """Prints a line a task: how many records, and their mean loss before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="directory of a simulated run that has ended")
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    options = parser.parse_args()
    recipe = load_recipe(options.run / "recipe.yaml")
    if recipe.data.task_field is None or recipe.data.unit != "record":
        parser.error("the run's recipe must name a data.task_field, and no data.person_field")
    model = adapted_model(recipe)
    model.write(adapter_kind(recipe).initial(model.layout))
    files = [Path(data) for data in recipe.sites.simulated.values()]
    before = _losses(files, recipe, model)
    model.write(read_tensors(options.run / "adapter"))
    after = _losses(files, recipe, model)
    figures = {
        task: {"records": len(losses), "before": round(fmean(losses), 3), "after": round(fmean(after[task]), 3)}
        for task, losses in before.items()
    }
    for task, figure in figures.items():
        print(f"{task:8} {figure['records']:5} records   {figure['before']:.3f} -> {figure['after']:.3f}")
    if options.json:
        print(json.dumps(figures))


def _losses(files: Sequence[Path], recipe: Recipe, model: AdaptedModel) -> dict[str, list[float]]:
    """Each task's losses a record, of all sites that have it."""
    losses: defaultdict[str, list[float]] = defaultdict(list)
    for file in files:
        tasks = [record.task or "" for record in read_records_of(file, recipe).heldout]
        heldout = load_data(file, recipe, model).heldout
        measured = heldout_loss(model, objective_of(recipe), heldout, recipe.training.micro_batch_size)
        for task, loss in zip(tasks, measured.by_unit, strict=True):
            losses[task].append(float(loss))
    return losses


if __name__ == "__main__":
    main()
