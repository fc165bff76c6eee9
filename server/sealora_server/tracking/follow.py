"""Tells trackers of a run: what its log holds, and what comes to it while they follow."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from sealora_common.errors import SealoraError
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.records.fold import StateTail
from sealora_common.records.names import EVENTS
from sealora_common.records.run_state import RunState
from sealora_common.roster import Roster
from sealora_common.show.safe_text import safe_text
from sealora_server.tracking.figures import points, tracked_run
from sealora_server.tracking.kinds.choice import without_password
from sealora_server.tracking.spending import Spending
from sealora_server.tracking.tracker import Point, Tracker

log = logging.getLogger(__name__)
_SECONDS_BETWEEN_LOOKS = 0.5
_END_SECONDS = 60.0


class Follower:
    """Tells `trackers` of the run at `run_dir`, from its beginning, whoever told them of it before.

    Args:
        run_dir: the run's directory; its log may appear later.
        trackers: by the words that a person named each with.

    Attributes:
        lost: trackers that failed, each with its sentence. They are told no more.
    """

    def __init__(self, run_dir: Path, trackers: Mapping[str, Tracker]) -> None:
        self._directory = run_dir
        self._trackers = dict(trackers)
        self._tail = StateTail(run_dir / EVENTS, RunState())
        self._spending: Spending | None = None
        self.lost: dict[str, str] = {}

    @property
    def state(self) -> RunState:
        """Of the run, as far as it was read."""
        return self._tail.state

    def read(self) -> None:
        """Tells what was written since the last call.

        Raises:
            SealoraError: the run's recipe cannot be read.
        """
        for step in self._tail.steps():
            if self._spending is None:
                if step.after.started is None:
                    continue
                self._begin(step.after)
            if self._spending is not None and self._trackers:
                for point in points(step, self._spending):
                    self._tell(partial(_add, point))

    def close(self) -> None:
        """Says how the run ended, or that it goes on."""
        if self._spending is not None:
            state = self.state
            self._tell(lambda tracker: tracker.end(state.ended, state.last_at or 0.0))
        self._trackers = {}

    def _begin(self, state: RunState) -> None:
        recipe = load_recipe(self._directory / "recipe.yaml")
        self._spending = Spending(recipe, self._roster_size(recipe))
        run = tracked_run(state, recipe)
        self._tell(lambda tracker: tracker.begin(run))

    def _roster_size(self, recipe: Recipe) -> int:
        with contextlib.suppress(SealoraError):
            return len(Roster.load(self._directory / "roster.json").names)
        return len(recipe.sites.simulated)

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                what(tracker)
            except Exception as error:  # whatever a library raises: a disk that is full, a store of another version
                del self._trackers[name]
                first = (str(error).strip().splitlines() or [type(error).__name__])[0]
                said = safe_text(without_password(first)).rstrip(".:")
                self.lost[name] = said
                log.warning("%s is told no more of the run, which goes on: %s", name, said)


def _add(point: Point, tracker: Tracker) -> None:
    tracker.add(point)


@contextlib.contextmanager
def followed(run_dir: Path, trackers: Mapping[str, Tracker]) -> Iterator[None]:
    """Has `trackers` follow the run at `run_dir`, from a thread of its own, for as long as the context is entered."""
    if not trackers:
        yield
        return
    follower, stop = Follower(run_dir, trackers), threading.Event()
    thread = threading.Thread(target=_follow, args=(follower, stop), name="trackers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=_END_SECONDS)
        if thread.is_alive():
            log.warning("the trackers have not come to an end after %g s and are left behind", _END_SECONDS)


def _follow(follower: Follower, stop: threading.Event) -> None:
    try:
        while not stop.wait(_SECONDS_BETWEEN_LOOKS):
            follower.read()
        follower.read()
        follower.close()
    except Exception as error:
        log.warning(
            "the run is tracked no more, and goes on: %s",
            error if isinstance(error, SealoraError) else type(error).__name__,
        )
