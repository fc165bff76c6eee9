"""What a dashboard is of: a server with its runs, or directories of runs, whoever made them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from sealora_common.errors import SealoraError, StorageError
from sealora_common.records.names import EVENTS
from sealora_common.show.quantities import names_text
from sealora_server.dashboard.facts import Overview, RunFacts, ServerFacts
from sealora_server.dashboard.notices import server_notices
from sealora_server.dashboard.run_watch import RunWatch
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.operator.messages import AskStatus, RunStatus, status_of
from sealora_server.deployment.operator.socket import ask

CONFIG = "server.yaml"
_STATUS_SECONDS = 3.0
_PATIENCE = 1.0
_SILENT_SECONDS = 10.0
_LOOK_SECONDS = 2.0


class ServerWatch:
    """Asks a server how it is, at most every few seconds, however many pages want to know.

    Args:
        server: its directory.
    """

    def __init__(self, server: ServerDirectory) -> None:
        self.server = server
        self._lock = threading.Lock()
        self._asking = ThreadPoolExecutor(max_workers=1, thread_name_prefix="status")
        self._answer: Future[ServerFacts] | None = None
        self._asked_at = float("-inf")
        self._facts = ServerFacts(server.path, None, "it has not answered yet")

    def look(self) -> ServerFacts:
        """What it said last, or why it does not; one that is slow is waited for a second, and no longer than ten."""
        with self._lock:
            if self._answer is None and time.monotonic() - self._asked_at > _STATUS_SECONDS:
                self._asked_at = time.monotonic()
                self._answer = self._asking.submit(self._asked)
            if self._answer is not None:
                silent = time.monotonic() - self._asked_at
                try:
                    self._facts = self._answer.result(_PATIENCE if silent < _SILENT_SECONDS else 0.0)
                    self._answer = None
                except TimeoutError:
                    if silent >= _SILENT_SECONDS:  # what it said last is not what is, and nobody waits for it
                        self._facts = ServerFacts(self.server.path, None, f"it has said nothing for {silent:.0f} s")
            return self._facts

    def _asked(self) -> ServerFacts:
        try:
            return ServerFacts(self.server.path, status_of(ask(self.server.operator_socket, AskStatus())), "")
        except SealoraError as error:
            return ServerFacts(self.server.path, None, str(error))


class Watched:
    """The runs under some places, and the server among these.

    Args:
        places: a server's directory, runs' directories, or directories of runs.
        clock: Unix seconds.

    Raises:
        StorageError: a place is none of these, or two are servers.
    """

    def __init__(self, places: Sequence[Path], clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._runs: dict[Path, RunWatch] = {}
        self._places: list[Path] = []
        self._named = list(places)
        self._looked_at = float("-inf")
        self.server: ServerWatch | None = None
        for place in places:
            self._take(place)
        self._find()

    def overview(self) -> Overview:
        """All of it at a glance."""
        server, statuses, offline = self._status()
        runs = [watch.glance(statuses.get(watch.directory), offline) for watch in self._find()]
        runs.sort(key=lambda run: (run.is_over, -(run.state.last_at or 0.0), run.key))
        where = names_text([str(place) for place in self._named])
        return Overview(where, server, tuple(runs), server_notices(server) if server else (), self._clock())

    def run(self, key: str) -> RunFacts | None:
        """One run, whole; None if there is none of this key."""
        watch = self._watch(key)
        if watch is None:
            return None
        _, statuses, offline = self._status()
        return watch.look(statuses.get(watch.directory), offline)

    def has(self, key: str) -> bool:
        """Whether there is a run of this key."""
        return self._watch(key) is not None

    def read_all(self) -> None:
        """Reads every run once, so that the first page has not to wait for it."""
        for watch in self._find():
            watch.look(with_receipts=False)

    def _status(self) -> tuple[ServerFacts | None, dict[Path, RunStatus], frozenset[str]]:
        """What the server tells: of itself, of the runs in its own directories, and which sites are not connected."""
        if self.server is None:
            return None, {}, frozenset()
        facts = self.server.look()
        if facts.status is None:
            return facts, {}, frozenset()
        offline = frozenset(site.name for site in facts.status.sites if not site.online)
        return facts, {self.server.server.runs / run.name: run for run in facts.status.runs}, offline

    def _take(self, place: Path) -> None:
        if (place / CONFIG).exists():
            if self.server is not None:
                raise StorageError(f"{place}: is a second server: start a dashboard for each")
            server = ServerDirectory(place / CONFIG)
            self.server = ServerWatch(server)
            self._places.append(server.runs)
        elif (place / EVENTS).exists() or any(place.glob(f"*/{EVENTS}")) or place.name == "runs":
            self._places.append(place)
        else:
            raise StorageError(
                f"{place}: is no server's directory, no run's and none of runs: name one that has a {CONFIG}, an "
                f"{EVENTS}, or directories with one"
            )

    def _watch(self, key: str) -> RunWatch | None:
        """The run of this key, also one that was made a moment ago."""
        for at_once in (False, True):
            for watch in self._find(at_once=at_once):
                if watch.key == key:
                    return watch
        return None

    def _find(self, *, at_once: bool = False) -> list[RunWatch]:
        """All runs that are there, the new ones too; `at_once`: those of the last two seconds as well."""
        with self._lock:
            if at_once or time.monotonic() - self._looked_at > _LOOK_SECONDS:
                found = dict.fromkeys(path for place in self._places for path in _runs_in(place))
                for gone in [path for path in self._runs if path not in found or not self._runs[path].is_still_there]:
                    del self._runs[gone]
                for path in found:
                    if path not in self._runs:
                        self._runs[path] = RunWatch(self._key(path), path, self._clock)
                self._looked_at = time.monotonic()
            return list(self._runs.values())

    def _key(self, path: Path) -> str:
        taken = {watch.key for watch in self._runs.values()}
        names = [path.name, f"{path.parent.name}-{path.name}", *(f"{path.name}-{n}" for n in range(2, 10_000))]
        return next(name for name in names if name not in taken)


def _runs_in(place: Path) -> list[Path]:
    if (place / EVENTS).exists():
        return [place]
    found = {path.parent for name in (EVENTS, "run.json") for path in place.glob(f"*/{name}")}
    return sorted(path for path in found if not path.name.startswith("."))
