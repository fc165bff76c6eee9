"""`sealora dashboard` as a process of its own, and runs for it whose events a test writes."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from sealora_common.receipts.receipt import Receipt
from sealora_common.records.events import (
    Event,
    RoundFinished,
    RunStarted,
    SiteReplied,
    SitesReady,
    Stage,
    StageName,
)
from sealora_server.run.store import RunStore
from sealora_server.run.stored.records import RECORD, RoundRecord

from pure_sites import pure_recipe
from quorum import Consortium, terms_for

PROGRAM = "import sys; sys.argv[0] = 'sealora'; from sealora_server.cli import main; main()"
STAGES: tuple[StageName, ...] = ("train", "share", "mask", "confirm", "open")


@dataclass
class ShownDashboard:
    """A dashboard that runs.

    Attributes:
        url: of its first page.
        token: what logs in.
        said: what it wrote before it could be asked.
        process: its own.
    """

    url: str
    token: str
    said: str
    process: subprocess.Popen[str]

    def client(self) -> httpx.Client:
        """Somebody who is logged in."""
        client = httpx.Client(base_url=self.url, timeout=20)
        answer = client.post("/login", data={"token": self.token}, headers={"Origin": self.url})
        assert answer.status_code == 303, answer.text
        return client

    def logged_in(self, visitor, path: str = "/", **words):
        """A page that was logged in and lives."""
        page = visitor.open(self.url, **words)
        page.fill("#token", self.token)
        page.click("main button")
        page.wait_for_selector("nav")
        if path != "/":
            page.goto(self.url + path)
        page.wait_for_selector("#connection.on")
        return page


@contextlib.contextmanager
def shown_dashboard(*words: str | Path) -> Iterator[ShownDashboard]:
    """`sealora dashboard` with these words, on a free port, until the block ends."""
    command = [sys.executable, "-c", PROGRAM, "dashboard", *map(str, words), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if found := re.match(r"dashboard at (\S+), until Ctrl-C; what logs in is in (\S+)$", line):
                token = Path(found[2]).read_text().strip()
                yield ShownDashboard(found[1], token, said, process)
                break
        else:
            raise AssertionError(said)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


class WrittenRun:
    """A run's directory with events that a test writes, as many as it likes and without waiting for the disk.

    Args:
        directory: the run's; made.
        sites: their names.
        rounds: of the recipe.
        began: Unix seconds of the first event.
        step: seconds between two.
    """

    def __init__(
        self, directory: Path, sites: Sequence[str], rounds: int, *, began: float | None = None, step: float = 0.01
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "events.jsonl"
        self.sites, self.rounds = tuple(sites), rounds
        self._ticks = ((time.time() if began is None else began) + step * number for number in itertools.count())
        started = RunStarted(
            name=directory.name,
            run_id="ab" * 16,
            rounds=rounds,
            recipe_hash="ab12" * 16,
            epsilon=8.0,
            delta=1e-5,
            mechanism="local",
            heldout_noise=4.0,
            heldout_noise_least=0.25,
            heldout_clip=8.0,
        )
        self.write(started, SitesReady(sites=self.sites, needed=len(self.sites) * 2 // 3 + 1))

    def write(self, *events: Event) -> None:
        """Appends events."""
        lines = (f'{{"time":{next(self._ticks):.3f},{event.model_dump_json().removeprefix("{")}\n' for event in events)
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(lines)

    def write_round(self, number: int, *, without: Iterable[str] = ()) -> None:
        """All of one round, from which some sites are missing after its training."""
        left = tuple(site for site in self.sites if site not in set(without))
        for stage in STAGES:
            there = self.sites if stage == "train" else left
            self.write(Stage(round=number, stage=stage, sites=len(there)))
            self.write(
                *(
                    SiteReplied(round=number, stage=stage, site=site, bytes_up=12_345, bytes_down=4_567)
                    for site in there
                )
            )
        self.write(
            RoundFinished(
                round=number,
                survivors=left,
                heldout_loss=1.5 + 3.5 * 0.97**number,
                seconds=31.5,
                adapter_sha256=f"{number:064x}",
            )
        )


def write_sealed_run(directory: Path, rounds: int = 3) -> WrittenRun:
    """A run whose receipts hold, as its rounds would have left them, without running one."""
    recipe = pure_recipe(rounds=rounds)
    store = RunStore.create(directory, recipe)
    consortium = Consortium(recipe_hash=recipe.hash)
    consortium.roster.save(directory / "roster.json")
    run = WrittenRun(directory, consortium.names, rounds)
    chain: list[Receipt] = []
    for number in range(1, rounds + 1):
        order = consortium.order(chain, run=store.run_id, groups=recipe.sealing.groups)
        terms = terms_for(order, consortium.roster, min_survivors=recipe.sealing.min_survivors)
        chain.append(consortium.receipt(order, f"{number:064x}", terms=terms))
        home = store.round_directory(number)
        home.mkdir(parents=True)
        store.receipt_path(number).write_bytes(chain[-1].to_line())
        record = RoundRecord(
            round_number=number,
            attempt=1,
            survivors=consortium.names,
            heldout_loss=None,
            clipped_fraction=0.0,
            next_clip_range=0.5,
            next_clip_norm=1.0,
            adapter_sha256=f"{number:064x}",
            seconds=1.0,
        )
        (home / RECORD).write_text(record.model_dump_json())
        run.write_round(number)
    return run
