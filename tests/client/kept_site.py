"""A site that keeps the adapter of a run that is over: directory, records and run, without the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sealora_client.delivery.kept_run import KeptRun
from sealora_client.model.adapted import AdaptedModel
from sealora_common.adapter import adapter_kind
from sealora_common.receipts.conclusion import Conclusion
from sealora_common.round.order import shared_digest

from adapter_kinds import made_up_adapter
from single_examples import recipe_for

RUN = "cd" * 16
CLASSES = {
    "objective": {"kind": "classification"},
    "data": {"layout": "labelled", "labels": {"0": "benign", "1": "malignant", "2": "unclear"}, "max_tokens": 64},
}
QUESTIONS = {"data": {"max_tokens": 96}, "evaluation": {"metric": "bleu", "max_new_tokens": 6}}


def kept_site(directory: Path, base: Path, records: Sequence[Mapping[str, object]], **sections: Any) -> KeptRun:
    """Writes them; the adapter is a made-up one, far from the base model."""
    directory.mkdir(parents=True)
    recipe = recipe_for(base, **sections)
    model = AdaptedModel.load(recipe)
    kind, made_up = adapter_kind(recipe), made_up_adapter(model, recipe, std=0.3)
    tensors = kind.initial(model.layout) | {name: made_up[name] for name in kind.shared(model.layout).names}
    site = {"name": "north", "data": "records.jsonl", "coordinator": "ab" * 32}
    (directory / "site.yaml").write_text(yaml.safe_dump(site))
    write_records(directory / "records.jsonl", records)
    kept = KeptRun(directory, RUN)
    conclusion = Conclusion(
        run=RUN,
        recipe_hash=recipe.hash,
        rounds=4,
        history="00" * 32,
        kept_round=4,
        adapter_digest=shared_digest(tensors, recipe),
        layout_digest="00" * 32,
    )
    kept.keep(conclusion, tensors, recipe)
    return kept


def write_records(path: Path, records: Sequence[Mapping[str, object]]) -> Path:
    """As JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def labelled(count: int, split: str | None = "heldout", **columns: Sequence[object]) -> list[dict[str, object]]:
    """Texts of three classes, and columns whose values take turns."""
    return [
        {"text": f"Finding {number}.", "label": str(number % 3)}
        | ({} if split is None else {"split": split})
        | {name: values[number % len(values)] for name, values in columns.items()}
        for number in range(count)
    ]


def questions(count: int, split: str = "heldout", **columns: Sequence[object]) -> list[dict[str, object]]:
    """Prompts with responses, and columns whose values take turns."""
    return [
        {"prompt": f"What is {number}?", "response": f"{number} is {number}.", "split": split}
        | {name: values[number % len(values)] for name, values in columns.items()}
        for number in range(count)
    ]
