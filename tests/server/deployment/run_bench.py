"""A run of three sites without a model on a real server, and what must be true of it in the end."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
import yaml
from fleet_sites import FleetFederation
from running_server import run_status, said, status, until
from safetensors.numpy import load_file

from sealora_common.identity import Identity
from sealora_common.receipts.check import check_chain
from sealora_common.recipe import Recipe
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.operator.messages import RunStatus, Submit
from sealora_server.deployment.operator.socket import ask
from sealora_server.run.store import RunStore

from pure_sites import pure_recipe

SECONDS = 240.0
ROUNDS = 2


def recipe() -> Recipe:
    return pure_recipe(
        rounds=ROUNDS,
        model={"base": "none", "digest": "0" * 64},
        sites={"stage_timeout": 30.0, "training_timeout": 30.0},  # what a lost message costs
    )


@dataclass
class RunBench:
    """A server, the process that runs it, and three sites."""

    server: ServerDirectory
    identity: Identity
    process: subprocess.Popen[bytes]
    recipe: Recipe = field(default_factory=recipe)

    def __post_init__(self) -> None:
        self.federation = FleetFederation(self.recipe, 3, self.identity.public_key)

    @property
    def run(self):
        return self.server.runs / "r1"

    @property
    def address(self) -> str:
        return f"localhost:{status(self.server).address.rpartition(':')[2]}"

    def submit(self) -> None:
        text = yaml.safe_dump(self.recipe.model_dump(mode="json"))
        roster = self.federation.roster.model_dump_json()
        ask(self.server.operator_socket, Submit(name="r1", recipe=text, roster=roster))

    def until_over(self) -> RunStatus:
        """Waits for the run's end."""
        conditions = {"finished", "failed"}
        until(lambda: run_status(self.server, "r1").condition in conditions, SECONDS, lambda: said(self.server))
        return run_status(self.server, "r1")

    def pid(self, name: str) -> int:
        """The process of this name; `serverapp` is the run's, `supervisor` the server's own."""
        if name == "supervisor":
            return self.process.pid
        if name == "serverapp":
            family = psutil.Process(self.process.pid).children()
            return next(each.pid for each in family if each.cmdline()[-1].endswith(".serverapp"))
        return next(each.pid for each in status(self.server).processes if each.name == name and each.pid)

    def events(self, kind: str) -> list[dict[str, Any]]:
        path = self.run / "events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def is_right(self) -> None:
        """Every round is there once, its receipts hold, and the result is what the sites' deltas make."""
        assert [event["round"] for event in self.events("round_finished")] == list(range(1, ROUNDS + 1))
        store = RunStore.open(self.run)
        assert store.finished_rounds == ROUNDS
        roster = self.federation.roster
        assert roster.server_key == self.identity.public_key
        check_chain(store.receipts(), {roster.hash.hex(): roster}, run=store.run_id, recipe=self.recipe)
        tensors = load_file(self.run / "adapter" / "adapter_model.safetensors")
        [trained] = [value for name, value in tensors.items() if "lora_B" in name]
        parts = [site.part for site in self.federation.sites]
        rounds = range(1, ROUNDS + 1)
        expected = sum(np.mean([part.deltas(part.name, number) for part in parts], axis=0) for number in rounds)
        np.testing.assert_allclose(trained.ravel(), expected, atol=1e-5)
