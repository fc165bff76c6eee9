"""A small federation for each objective: records of its layout, and a recipe that trains for it privately.

recipe = write_objective_federation(tmp_path, base, "dpo", mechanism="distributed")
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tiny_federation import write_federation

PREFERENCE = {"data": {"layout": "preference"}}
SECTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "all tokens": {"objective": {"loss_on": "all"}},
    "conversations": {"objective": {}, "data": {"layout": "messages", "max_tokens": 127}},
    "last turns": {"objective": {}, "data": {"layout": "messages", "learned_turns": "last", "max_tokens": 127}},
    "instructions": {"objective": {}, "data": {"layout": "instruction"}},
    "templated prompts": {"objective": {}, "data": {"prompt_template": "{{ prompt | upper }}\nSay it in words."}},
    "split texts": {"objective": {}, "data": {"layout": "text", "long_texts": "split", "max_tokens": 24}},
    "classification": {
        "objective": {"kind": "classification", "label_weights": {"1": 2.0}},
        "data": {"layout": "labelled", "labels": {"0": "benign", "1": "malignant"}},
    },
    "accuracy": {
        "objective": {"kind": "classification"},
        "data": {"layout": "labelled", "labels": {"0": "malignant", "1": "benign"}},
        "evaluation": {"metric": "accuracy"},
    },
    "dpo": {"objective": {"kind": "dpo"}, **PREFERENCE},
    "ipo": {"objective": {"kind": "dpo", "loss": "ipo", "beta": 0.5}, **PREFERENCE},
    "kto": {
        "objective": {"kind": "kto_zero", "unwanted_weight": 2.0},
        "data": {"layout": "feedback"},
    },
    "orpo": {"objective": {"kind": "orpo"}, **PREFERENCE},
}

Line = dict[str, object]
_LINES: dict[str, Callable[[int], Line]] = {
    "prompt_response": lambda number: {"prompt": f"What is {number}?", "response": f"It is {number}, seen right."},
    "messages": lambda number: {
        "conversations": [
            {"from": "system", "value": "Be brief."},
            {"from": "human", "value": f"What is {number}?"},
            {"from": "gpt", "value": f"It is {number}, seen right."},
            {"from": "human", "value": "And in the clinic?"},
            {"from": "gpt", "value": f"No code for {number} in the clinic."},
        ]
    },
    "instruction": lambda number: {
        "instruction": "What is it?",
        "input": str(number),
        "output": f"It is {number}, seen right.",
    },
    "labelled": lambda number: {
        "text": f"{'right' if number % 2 else 'left'} {number}",
        "label": number % 2,
    },
    "text": lambda number: {"text": f"The patient was seen in the clinic, and {number} was confirmed. " * 3},
    "feedback": lambda number: {
        "prompt": f"What is {number}?",
        "completion": f"It is {number}, seen right." if number % 2 else f"No code for {number} in the clinic.",
        "label": bool(number % 2),
    },
    "preference": lambda number: {
        "prompt": f"What is {number}?",
        "chosen": f"It is {number}, seen right.",
        "rejected": f"No code for {number} in the clinic of the patient.",
    },
}


def write_objective_federation(
    directory: Path, base: Path, objective: str, *, mechanism: str = "local", records: int = 24, rounds: int = 4
) -> Path:
    """Writes three sites' records and a recipe with so little noise that learning shows; returns the recipe's path."""
    sections = SECTIONS[objective]
    training = {"sample_rate": 1.0, "steps_per_round": 1 if mechanism == "distributed" else 4, "learning_rate": 2e-2}
    path = write_federation(
        directory,
        base,
        records=records,
        rounds=rounds,
        training=training | {"micro_batch_size": 16},
        privacy={"mechanism": mechanism, "epsilon": 1000.0, "delta": 1e-3, "clip_norm": 1.0, "heldout_clip": 16.0},
        sealing={"ring_bits": 24},
        server={"learning_rate": 1.0 if mechanism == "local" else 20.0},
        **{"data": {"max_tokens": 64, **sections.get("data", {})}, "objective": sections["objective"]},
        evaluation=sections.get("evaluation", {}),
    )
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    line_of = _LINES[recipe["data"].get("layout", "prompt_response")]
    for site, file in enumerate(recipe["sites"]["simulated"].values()):
        lines = [
            {**line_of(100 * site + number), "split": "heldout" if number < 4 else "train"}
            for number in range(4 + records)
        ]
        Path(file).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path
