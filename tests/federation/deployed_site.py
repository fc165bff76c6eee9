"""`sealora-site run` that dies where a test wants it: by SIGKILL, from within, so that the instant is exact.

    python deployed_site.py DIRECTORY

Before and after each message it looks into `DIRECTORY/die-at`, a line `STAGE ROUND MOMENT`: MOMENT is `before` (the
message is there, nothing was done), `charged` (training is paid for and has not begun) or `after` (all is done, the
answer is not sent). What it died of is gone from the directory then. Each masked vector that it made is a line in
`masked.log`, written before the answer can leave.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import typer
from flwr.app import Message

from sealora_client.cli import run as run_cli
from sealora_client.fleet.installed_app import InstalledApp
from sealora_client.training.local import LocalTraining
from sealora_common.round.wire_format import ORDER, field

_directory = Path(sys.argv[1])
_in_hand: dict[str, Any] = {}  # the order of the round that this site is in


def _die_if_wanted(stage: str, moment: str) -> None:
    wish = _directory / "die-at"
    if wish.exists() and wish.read_text() == f"{stage} {_in_hand.get('round_number')} {moment}":
        wish.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def _watched(self: InstalledApp, message: Message) -> Any:
    stage = message.metadata.message_type.removeprefix("query.")
    if stage in ("train", "evaluate"):
        _in_hand.update(json.loads(field(message.content, ORDER)))  # type: ignore[arg-type]
    _die_if_wanted(stage, "before")
    reply = _answer(self, message)
    if stage == "mask":
        with (_directory / "masked.log").open("a") as log:
            log.write("{run} {purpose} {round_number}\n".format(**_in_hand))
    _die_if_wanted(stage, "after")
    return reply


def _paid(*arguments: Any, **options: Any) -> Any:
    _die_if_wanted("train", "charged")
    return _train_round(*arguments, **options)


_answer, _train_round = InstalledApp.answer, LocalTraining.train
InstalledApp.answer = _watched  # type: ignore[method-assign]
LocalTraining.train = _paid

if __name__ == "__main__":
    try:
        run_cli.run(_directory / "site.yaml", grace=2.0)
    except typer.Exit as end:
        sys.exit(end.exit_code)
