"""What each tracker's own library, or its own form of file, gives back of what was written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = 32 * 1024
_HEAD = 7


@dataclass
class ReadBack:
    """One run.

    Attributes:
        name: that people see.
        settings: as texts.
        curves: name -> rounds -> every value that is there.
        ended: the tracker's word; empty if it knows none.
    """

    name: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    curves: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    ended: str = ""

    def add(self, name: str, rounds: int, value: float) -> None:
        self.curves.setdefault(name, {}).setdefault(rounds, []).append(value)


def from_mlflow(directory: Path) -> list[ReadBack]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{directory / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("sealora")
    assert experiment is not None
    found = []
    for run in client.search_runs([experiment.experiment_id]):
        read = ReadBack(run.info.run_name, dict(run.data.params), ended=run.info.status)
        for name in run.data.metrics:
            for metric in client.get_metric_history(run.info.run_id, name):
                read.add(name, metric.step, metric.value)
        found.append(read)
    return found


def from_tensorboard(directory: Path) -> list[ReadBack]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = []
    for place in sorted(directory.iterdir()):
        events = EventAccumulator(str(place), size_guidance={"scalars": 0, "tensors": 0})
        events.Reload()
        read = ReadBack(place.name)
        for name in events.Tags()["tensors"]:
            for event in events.Tensors(name):
                if event.tensor_proto.dtype == 1:  # DT_FLOAT
                    read.add(name, event.step, event.tensor_proto.float_val[0])
                elif name == "recipe":
                    rows = event.tensor_proto.string_val[0].decode().splitlines()[2:]
                    read.settings = dict(row.strip("| ").split(" | ", 1) for row in rows)
        found.append(read)
    return found


def from_wandb(directory: Path) -> list[ReadBack]:
    return [_of_offline_run(path) for path in sorted((directory / "wandb").glob("offline-run-*/run-*.wandb"))]


def _of_offline_run(path: Path) -> ReadBack:
    from wandb.proto.wandb_internal_pb2 import Record

    read = ReadBack()
    for content in _records(path.read_bytes()):
        record = Record.FromString(content)
        # Nothing of the machine, and nothing that the program prints.
        assert not any(map(record.HasField, ("environment", "files", "output", "output_raw", "stats")))
        assert not record.run.host
        assert not record.run.HasField("git")
        if record.HasField("run"):
            read.name = record.run.display_name or read.name
            for item in record.run.config.update:
                read.settings[item.key] = str(json.loads(item.value_json))
        if record.HasField("history"):
            line = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            for name, value in line.items():
                if not name.startswith("_") and name != "time":
                    read.add(name, record.history.step.num, value)
        if record.HasField("exit"):
            read.ended = str(record.exit.exit_code)
    return read


def _records(content: bytes) -> list[bytes]:
    """The records of a log in LevelDB's form, after a head of seven bytes."""
    assert content[:4] == b":W&B"
    found, part, place = [], b"", _HEAD
    while place + _HEAD <= len(content):
        if _BLOCK - place % _BLOCK < _HEAD:
            place += _BLOCK - place % _BLOCK
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        part += content[place + _HEAD : place + _HEAD + length]
        place += _HEAD + length
        if kind in (1, 4):  # whole, or the last part
            found.append(part)
            part = b""
    return found


READERS: dict[str, Callable[[Path], list[ReadBack]]] = {
    "mlflow": from_mlflow,
    "tensorboard": from_tensorboard,
    "wandb": from_wandb,
}
