"""Whole federations in miniature: data files and a recipe for a tiny model, run inline as `sealora simulate` does.

    recipe = write_federation(tmp_path, base, count=3)
    run = run_inline(recipe, tmp_path / "run")

A test looks into a run, or disturbs it, with a grid of its own: a subclass of `InlineGrid` that is passed to
`run_inline`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from flwr.app import Message
from safetensors.numpy import load_file
from typer.testing import CliRunner

from sealora_client.ledger import ChargeRow, Ledger
from sealora_common.adapter import Tensors
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.records.event_log import read_events
from sealora_common.records.events import Event
from sealora_common.roster import Roster
from sealora_server.run.store import RunStore
from sealora_server.simulation import engine
from sealora_server.simulation.inline import InlineGrid
from sealora_server.simulation.sites import prepare_sites

SECTIONS: dict[str, dict[str, Any]] = {
    "model": {"quantization": "none", "compute_dtype": "float32"},
    "lora": {"rank": 2, "alpha": 4.0},
    "data": {"max_tokens": 64},
    "training": {"sample_rate": 0.5, "steps_per_round": 1, "learning_rate": 5e-3},
    "privacy": {"mechanism": "none"},
}
"""The recipe unless a test says otherwise: as quick as can be."""

PRIVATE = {"mechanism": "local", "epsilon": 8.0, "delta": 1e-3}
"""A privacy section with DP-SGD, for tests in which noise or the ledger matters."""


def write_federation(
    directory: Path, base: Path, *, count: int = 3, records: int = 24, rounds: int = 2, **sections: Any
) -> Path:
    """Writes the JSONL files of `count` sites and a recipe into `directory`; returns the recipe's path.

    Site i has `records` + i training records and four held-out ones. `sections` are laid over `SECTIONS`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    simulated = {}
    for site in range(count):
        path = directory / f"site-{site}.jsonl"
        lines = [
            {
                "prompt": f"What is {number}?",
                "response": f"{number} times {site + 2} is {number * (site + 2)}.",
                "split": "heldout" if number < 4 else "train",
                "patient": f"{'h' if number < 4 else 't'}{number // 4}",  # four records each
            }
            for number in range(4 + records + site)
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        simulated[f"site-{site}"] = str(path)
    recipe: dict[str, Any] = {"name": "tiny", "rounds": rounds}
    first = ("model", "lora", "data", "training", "privacy", "sealing", "server", "sites")
    for section in first:
        recipe[section] = {**SECTIONS.get(section, {}), **sections.pop(section, {})}
    if sections.get("adapter", "lora") not in ("lora", "dora"):
        del recipe["lora"]
    recipe |= sections
    recipe["model"]["base"] = str(base)
    recipe["sites"]["simulated"] = simulated
    path = directory / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return path


def prepare_run(recipe: Path, run: Path, *, overrides: Iterable[str] = (), resume: bool = False) -> Roster:
    """Does what `sealora simulate` does before the first round: run directory, sites' directories, roster."""
    from sealora_client.simulated import SimulatedSites

    parsed = SimulatedSites.resolve(load_recipe(recipe, overrides))
    SimulatedSites.check(parsed)
    store = RunStore.open(run) if resume else RunStore.create(run, parsed)
    assert store.recipe.hash == parsed.hash
    return prepare_sites(SimulatedSites, store)


def run_inline(
    recipe: Path,
    run: Path,
    *,
    grid: type[InlineGrid] = InlineGrid,
    overrides: Iterable[str] = (),
    resume: bool = False,
) -> Path:
    """Runs, or resumes, the federation of `recipe` in this process; returns the run directory."""
    roster = prepare_run(recipe, run, overrides=overrides, resume=resume)
    with mock.patch.object(engine, "InlineGrid", grid):
        engine.run_engine(engine.Engine.INLINE, run, list(roster.names))
    return run


class WatchedGrid(InlineGrid):
    """An inline grid that says which site, action and round (of training; the last is the evaluation) it is in.

    Subclasses override `exchange`; `self.round` is the round of the exchange, 0 during enrolment.
    """

    round = 0
    attempt = 0

    def exchange(self, site: str, action: str, message: Message) -> Message:
        """One message to one site; the answer it returns is what the server gets."""
        return super()._deliver(message)

    def site_of(self, node_id: int) -> str:
        """The name of the site on a node."""
        return Path(str(self._contexts[node_id].node_config["site-directory"])).name

    def _deliver(self, message: Message) -> Message:
        action = message.metadata.message_type
        if action in ("train", "evaluate"):
            order = json.loads(message.content.config_records["config"]["order"])  # type: ignore[arg-type]
            self.round, self.attempt = order["round_number"], order["attempt"]
        return self.exchange(self.site_of(message.metadata.dst_node_id), action, message)


def recipe_of(run: Path) -> Recipe:
    """The recipe of a run."""
    return load_recipe(run / "recipe.yaml")


def adapter_of(run: Path, round_number: int | None = None) -> Tensors:
    """The adapter of a run, or of one of its rounds."""
    directory = run if round_number is None else run / "rounds" / f"{round_number:04d}"
    return dict(load_file(directory / "adapter" / "adapter_model.safetensors"))


def adapter_bytes(run: Path) -> bytes:
    """The final adapter's file."""
    return (run / "adapter" / "adapter_model.safetensors").read_bytes()


def events_of(run: Path, kind: str | None = None) -> list[Event]:
    """The events of a run, of one kind or all."""
    events = [recorded.event for recorded in read_events(run / "events.jsonl")]
    return events if kind is None else [event for event in events if event.event == kind]


def history_of(run: Path, site: str) -> list[dict[str, Any]]:
    """A site's own figures."""
    lines = (run / "sites" / site / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def training_charges(run: Path, site: str) -> list[ChargeRow]:
    """The ledger's charges for training; those for evaluations have every record in them."""
    with Ledger(run / "sites" / site / "ledger.sqlite") as ledger:
        return [row for row in ledger.charges() if row.event.sample_rate < 1]


def typed(cli, *words: object) -> str:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    if result.exception is not None:
        raise result.exception
    return result.output
