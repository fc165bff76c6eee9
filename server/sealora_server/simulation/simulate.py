"""`sealora simulate`: from a recipe to an adapter, a summary and a report, on one machine."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from sealora_common.errors import RecipeError, SealoraError, StorageError
from sealora_common.export.peft_directory import read_tensors
from sealora_common.health.logs import SafeFormatter
from sealora_common.recipe import Recipe
from sealora_common.records.completions import read_completions, write_completions
from sealora_common.records.events import RunFailed, RunInterrupted
from sealora_common.records.names import SITES
from sealora_common.roster import Roster
from sealora_common.storage.durable import open_to_append
from sealora_server.run.starting_adapter import agreed_start, digest_of_adapter, read_starting_adapter
from sealora_server.run.store import RunStore
from sealora_server.simulation.engine import Engine, run_engine
from sealora_server.simulation.sites import SimulatedSitesLike, prepare_sites, resolved, simulated_sites
from sealora_server.tracking.follow import followed
from sealora_server.tracking.tracker import Tracker
from sealora_server.view.live.console_faces import console_face
from sealora_server.view.live.display import RunDisplay
from sealora_server.view.outcome import write_outcome
from sealora_server.view.results import print_results
from sealora_server.view.summary import Summary

_COMPLETIONS = 6


@dataclass(frozen=True)
class Simulation:
    """A simulation that is about to run.

    Attributes:
        recipe: the recipe as given; its base model's digest is filled in.
        directory: the run directory.
        engine: where the sites run.
        resume: go on with the run that is in the directory.
        continue_from: a run's directory, or an adapter's, whose adapter the run begins with.
        ray_address: of the Ray cluster that the sites run on, see `ray_cluster`; None for one of its own.
        trackers: which follow it, by the words that a person named each with.
    """

    recipe: Recipe
    directory: Path
    engine: Engine = Engine.INLINE
    resume: bool = False
    continue_from: Path | None = None
    ray_address: str | None = None
    trackers: Mapping[str, Tracker] = field(default_factory=dict)

    def run(self, console: Console) -> None:
        """Runs it to the end, showing progress and what came of it on `console`.

        Raises:
            SealoraError: see `concluded`.
            KeyboardInterrupt: likewise.
        """
        summary = self.concluded(console)
        print_results(summary, read_completions(self.directory), self.directory, console)

    def concluded(self, console: Console) -> Summary:
        """Runs it to the end, showing progress on `console`, and sums it up.

        Raises:
            SealoraError: something the person can mend. Finished rounds are kept and can be resumed.
            KeyboardInterrupt: likewise.
        """
        sites = simulated_sites()
        store = self._store(resolved(sites, self.recipe, console))
        roster = prepare_sites(sites, store)
        with followed(store.directory, self.trackers):
            self._work(store, roster, console)
        return self._conclude(sites, store)

    def _work(self, store: RunStore, roster: Roster, console: Console) -> None:
        sites_log = store.directory / "sites.log"
        try:
            with _logged(sites_log), RunDisplay(store.directory, console_face(console)):
                run_engine(self.engine, store.directory, list(roster.names), self.ray_address)
        except SealoraError as error:
            _note(store, RunFailed(reason=str(error)))
            if sites_log.exists():
                console.print(f"What the sites' own logs say: {sites_log}", highlight=False, soft_wrap=True)
            raise
        except KeyboardInterrupt:
            _note(store, RunInterrupted(round=store.finished_rounds + 1))
            raise

    def _store(self, recipe: Recipe) -> RunStore:
        if self.continue_from is not None and recipe.continue_from is None:
            # One person speaks for all parties here, so that nobody need be asked.
            found = digest_of_adapter(read_starting_adapter(self.continue_from, recipe))
            recipe = recipe.model_copy(update={"continue_from": found})
        if not self.resume:
            return RunStore.create(self.directory, recipe, start=agreed_start(self.continue_from, recipe))
        store = RunStore.open(self.directory)
        if store.recipe.hash != recipe.hash:
            raise RecipeError(
                f"{self.directory} holds a run of another recipe: give the recipe and overrides it was started with, "
                "or choose another --out"
            )
        return store

    def _conclude(self, sites: SimulatedSitesLike, store: RunStore) -> Summary:
        final = read_tensors(store.directory / "adapter")
        directory = store.directory / SITES
        completions = sites.completions(store.recipe, directory, final, _COMPLETIONS, store.start, lot=store.run_id)
        write_completions(store.directory, completions)
        at_two_sites = sites.epsilon_at_two_sites(store.recipe)
        return write_outcome(store.directory, at_two_sites)


class _SitesLog(logging.FileHandler):
    """The logs of all sites, which in a deployment stay at each. A full disk must not hide what the run says."""

    def _open(self) -> io.TextIOWrapper:
        return open_to_append(Path(self.baseFilename))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, a name of logging's
        del record


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Writes what the sites of this process log as warnings or worse to `path`, made when there is something."""
    handler = _SitesLog(path, encoding="utf-8", delay=True)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(SafeFormatter("%(asctime)s %(levelname)s %(message)s"))
    sites, app = logging.getLogger("sealora_client"), logging.getLogger("sealora_client.app")
    former = app.level, app.propagate
    # Its refusals are the sites' own, and would be in the way on the console; what travels of them is shown there.
    app.setLevel(logging.WARNING)
    app.propagate = False
    for logger in (sites, app):
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in (sites, app):
            logger.removeHandler(handler)
        app.level, app.propagate = former
        with contextlib.suppress(OSError):  # the disk may be full
            handler.close()


def _note(store: RunStore, event: RunFailed | RunInterrupted) -> None:
    with contextlib.suppress(StorageError):  # a full disk, say: the reason the run ended for must not be lost
        store.events.write(event)
