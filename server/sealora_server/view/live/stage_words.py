"""What a site does in a stage, in a word or two, and what it has done once it has answered."""

from __future__ import annotations

from typing import Final

from sealora_common.records.events import StageName

WORKING: Final[dict[StageName, str]] = {
    "train": "training",
    "share": "exchanging keys",
    "check": "checking keys",
    "disclose": "answering",
    "mask": "sealing",
    "confirm": "confirming",
    "open": "opening the sum",
    "evaluate": "evaluating",
}
ANSWERED: Final[dict[StageName, str]] = {
    "train": "trained",
    "share": "keys exchanged",
    "check": "keys checked",
    "disclose": "answered",
    "mask": "sealed",
    "confirm": "confirmed",
    "open": "opened",
    "evaluate": "evaluated",
}
